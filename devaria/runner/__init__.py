"""The runner: its loop, and the way of one job through it.

A job is in hand from its claim until the worker has acknowledged its outcome.

main            run a runner as a process: lock, log, signals
runner          the loop: identify, settle what is owed, poll, sleep
registration    who this runner is at its worker
recovery        jobs that an earlier run left behind
polling         polls: how long the worker may hold them, and when the next one comes
claiming        claim jobs from a list
job_run         one job in hand
prestart        the processes for the next jobs
preloads        those of an idle runner, which have imported ahead
heartbeat       the thread that sends heartbeats
reporting       report an outcome for as long as it takes
retrying        the main thread's requests, repeated with back-off
journal         the jobs in hand, on disk
status, log     what operators and monitoring read
doctor          what `devaria doctor` checks
"""
