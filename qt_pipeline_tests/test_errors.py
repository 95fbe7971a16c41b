import pytest

from qt_pipeline import landing, quantemplate, warehouse
from qt_pipeline.catalog.catalog import UnlistedDatasetError
from qt_pipeline.errors import ConfigurationError, FailureScope, PermanentError, PipelineError, TransientError, about
from qt_pipeline.inbox import InboxUnavailableError


def test_an_error_says_to_which_dataset_what_happened_and_what_to_do() -> None:
    error = PipelineError("It broke.", hint="Mend it.", dataset_id="d-one")
    assert str(error) == "Dataset d-one: It broke. Mend it."


def test_what_is_not_known_leaves_no_gap() -> None:
    assert str(PipelineError("It broke.")) == "It broke."
    assert str(PipelineError("It broke.", dataset_id="d-one")) == "Dataset d-one: It broke."
    assert str(PipelineError("It broke.", hint="Mend it.")) == "It broke. Mend it."


def test_a_wrong_setting_does_not_mend_itself() -> None:
    assert issubclass(ConfigurationError, PermanentError)
    assert not issubclass(PermanentError, TransientError)


def test_an_error_leaves_a_block_with_the_name_of_its_dataset() -> None:
    with pytest.raises(TransientError, match=r"^Dataset d-one: It broke\.$"), about("d-one"):
        raise TransientError("It broke.")


def test_a_dataset_that_is_named_already_keeps_its_name() -> None:
    with pytest.raises(PipelineError, match=r"^Dataset d-inner: "), about("d-outer"):
        raise PipelineError("It broke.", dataset_id="d-inner")


def test_other_errors_pass_as_they_are() -> None:
    error = ValueError("not ours")
    with pytest.raises(ValueError, match="not ours") as caught, about("d-one"):
        raise error
    assert caught.value is error


@pytest.mark.parametrize(
    ("error", "concern"),
    [
        (PipelineError, FailureScope.DATASET),
        (warehouse.TargetUnavailableError, FailureScope.TARGET),
        (warehouse.TargetRefusedError, FailureScope.TARGET),
        (warehouse.TableRefusedError, FailureScope.DATASET),
        (warehouse.TableBusyError, FailureScope.DATASET),
        (warehouse.VerificationError, FailureScope.DATASET),
        (quantemplate.RequestFailedError, FailureScope.QUANTEMPLATE),
        (quantemplate.CredentialsError, FailureScope.QUANTEMPLATE),
        (quantemplate.InvalidTokenResponseError, FailureScope.QUANTEMPLATE),
        (quantemplate.RedirectError, FailureScope.QUANTEMPLATE),
        (quantemplate.UnauthorisedError, FailureScope.QUANTEMPLATE),
        (quantemplate.AccessDeniedError, FailureScope.DATASET),
        (quantemplate.IncompleteBodyError, FailureScope.DATASET),
        (quantemplate.NotReadyError, FailureScope.DATASET),
        (landing.LandingUnavailableError, FailureScope.LANDING),
        (landing.NothingLandedError, FailureScope.DATASET),
        (InboxUnavailableError, FailureScope.INBOX),
        (ConfigurationError, FailureScope.CONFIGURATION),
        (UnlistedDatasetError, FailureScope.DATASET),
    ],
)
def test_an_error_says_whether_it_is_about_one_dataset_or_what_all_share(
    error: type[PipelineError], concern: FailureScope
) -> None:
    assert error.scope is concern
