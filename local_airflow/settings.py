"""Settings for an Airflow whose processes are killed or frozen."""

#: With Airflow's own settings it takes minutes until it notices that something was killed. The times leave room
#: for heartbeats that come late because the machine is busy, not because their sender is dead.
SOON_NOTICED = {
    # A worker was killed: its task counts as failed.
    "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT": "15",
    "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT_DETECTION_INTERVAL": "3",
    # A scheduler was killed: the next one takes over its tasks.
    "AIRFLOW__SCHEDULER__JOB_HEARTBEAT_SEC": "2",
    "AIRFLOW__SCHEDULER__SCHEDULER_HEARTBEAT_SEC": "2",
    "AIRFLOW__SCHEDULER__SCHEDULER_HEALTH_CHECK_THRESHOLD": "12",
    "AIRFLOW__SCHEDULER__ORPHANED_TASKS_CHECK_INTERVAL": "4",
    # A triggerer was killed or frozen: another one takes over its triggers.
    "AIRFLOW__TRIGGERER__JOB_HEARTBEAT_SEC": "1",
    "AIRFLOW__TRIGGERER__TRIGGERER_HEALTH_CHECK_THRESHOLD": "5",
    # A supervisor must not give up its task because the API server, which is not killed, is busy.
    "AIRFLOW__WORKERS__MAX_FAILED_HEARTBEATS": "10",
    "AIRFLOW__WORKERS__EXECUTION_API_TIMEOUT": "20",
    # Else requests of many tasks at once keep the API server's connections from each other, 30 s long.
    "AIRFLOW__DATABASE__SQL_ALCHEMY_POOL_SIZE": "20",
    "AIRFLOW__DATABASE__SQL_ALCHEMY_MAX_OVERFLOW": "60",
}
