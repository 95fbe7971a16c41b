"""The GraphQL queries, as text. Not here: sending them (see client), parsed responses (see model)."""

_RUN = "runId status creationTime startTime endTime tags { key value }"

STATE = """
query {
  version
  instance { daemonHealth { allDaemonStatuses {
    daemonType required healthy lastHeartbeatTime lastHeartbeatErrors { message }
  } } }
  workspaceOrError {
    ... on Workspace { locationEntries { name locationOrLoadError { __typename ... on PythonError { message } } } }
    ... on PythonError { message }
  }
}
"""
VERSION = "query { version }"
SENSOR = """
query ($sensor: SensorSelector!) {
  sensorOrError(sensorSelector: $sensor) {
    __typename ... on Sensor { sensorState { status } } ... on Error { message }
  }
}
"""
PARTITIONS = """
query ($key: AssetKeyInput!) { assetNodeOrError(assetKey: $key) { ... on AssetNode { partitionKeys } } }
"""
ADD_PARTITION = """
mutation ($repository: RepositorySelector!, $definition: String!, $key: String!) {
  addDynamicPartition(repositorySelector: $repository, partitionsDefName: $definition, partitionKey: $key) {
    __typename ... on PythonError { message } ... on UnauthorizedError { message }
  }
}
"""
LAUNCH = """
mutation ($params: ExecutionParams!) {
  launchRun(executionParams: $params) { __typename ... on LaunchRunSuccess { run { runId } } ... on Error { message } }
}
"""
BACKFILL = """
mutation ($params: LaunchBackfillParams!) {
  launchPartitionBackfill(backfillParams: $params) {
    __typename ... on LaunchBackfillSuccess { backfillId } ... on Error { message }
  }
}
"""
RUNS = f"""
query ($filter: RunsFilter, $limit: Int) {{
  runsOrError(filter: $filter, limit: $limit) {{
    __typename ... on Runs {{ results {{ {_RUN} }} }} ... on Error {{ message }}
  }}
}}
"""
LAST_ENDED = f"""
query ($failed: RunsFilter, $succeeded: RunsFilter, $limit: Int) {{
  failed: runsOrError(filter: $failed, limit: $limit) {{
    __typename ... on Runs {{ results {{ {_RUN} }} }} ... on Error {{ message }}
  }}
  succeeded: runsOrError(filter: $succeeded, limit: $limit) {{
    __typename ... on Runs {{ results {{ {_RUN} }} }} ... on Error {{ message }}
  }}
}}
"""
BACKFILL_STATUS = f"""
query ($id: String!) {{
  partitionBackfillOrError(backfillId: $id) {{
    __typename
    ... on PartitionBackfill {{ status error {{ message }} runs(limit: 100000) {{ {_RUN} }} }}
    ... on Error {{ message }}
  }}
}}
"""
EVENTS = """
query ($id: ID!, $cursor: String, $limit: Int) {
  runOrError(runId: $id) {
    __typename
    ... on Run { eventConnection(afterCursor: $cursor, limit: $limit) { cursor hasMore events {
      __typename
      ... on MessageEvent { message stepKey }
      ... on ErrorEvent { error { message causes { message } } }
      ... on ExecutionStepFailureEvent { failureMetadata { metadataEntries { ...entry } } }
      ... on MaterializationEvent { assetKey { path } metadataEntries { ...entry } }
    } } }
    ... on Error { message }
  }
}
fragment entry on MetadataEntry { label ... on TextMetadataEntry { text } ... on IntMetadataEntry { intValue } }
"""
TERMINATE = """
mutation ($id: String!) { terminateRun(runId: $id) { __typename ... on TerminateRunFailure { message }
  ... on Error { message } } }
"""
