"""The routes of the local worker. ``tests/contract`` describes them from the outside.

::

    runner, jobs, admin, figures    a module of routes for each kind of caller
    guards                          checks before a route: runner id, key, rate limit
    waiting                         requests that ask to wait for news
    web                             what all routes share: services, JSON bodies and answers
    rate_limit                      the counter of requests; knows nothing of HTTP

The modules of each line import only those below them; ``admin`` also imports from ``jobs``.
"""
