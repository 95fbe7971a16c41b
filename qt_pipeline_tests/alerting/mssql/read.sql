-- connection 2
SELECT _qt_alerting.memory FROM _qt_alerting;
SELECT _qt_incidents.incident FROM _qt_incidents;
COMMIT;
