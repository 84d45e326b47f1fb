"""The embedded local worker: job queue, result cache and figure store of one lab, on one port.

It speaks the same wire contract as the hosted worker, so that the same runners, submitters and
web clients work with either. ``server.LocalWorker`` is the way in; nothing is imported here,
because ``devaria --help`` must run without flask and waitress.

How the files build on each other::

    server      LocalWorker: the socket, waitress, the threads
    app         the Flask application: CORS, 404s, the blueprints
    routes_*    the routes, a file for each kind of caller (runner, submitter, admin)
    dashboard   the pages for people, with access (who may see them), views (what they show),
                job_forms (forms to submit with), templates and static
    figures     the figure store and its signed URLs        figure_routes  its routes
    guards      what stands before a route: auth, rate limits, malformed requests
    web         what the routes share: their services, answers, bodies
    jobs        the job store        runners     the runner store
    requeue     jobs whose runner fell silent
    expiry      whether the figures of a cached result are still there
    database    SQLite, a connection for each thread
    identity    when two submissions are the same job        limits   sizes of fields
    rate_limit  fixed windows        keys        the three API keys
    js_json     JSON as JavaScript reads, writes and measures it
"""
