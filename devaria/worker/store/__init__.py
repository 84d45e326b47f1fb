"""The stores of the local worker. Nothing here knows HTTP routes, Flask or the dashboard.

::

    jobs        the queue and the result cache; the identity of a job
    runners     the registered runners
    figures     figures as files, and the signatures of their upload URLs
    expiry      whether the figures of a cached result still exist
    deep_json   JSON of any honest depth
    database    the SQLite file
    silence     jobs of silent runners return to the queue
    news        who waits for news of jobs
    pickup      which runner is told of which job
    waiting     the requests that wait
"""
