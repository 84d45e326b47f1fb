"""The local worker: job queue, result cache and figure store of one lab, on one port.

It speaks the same wire contract as the hosted worker, so the same runners, submitters and web
clients work with either. Start it with ``devaria worker``, or in a program with
``server.LocalWorker``.

This package imports only ``devaria.common``, so that runner and worker are tested against each
other and not against shared code. Inside it, each part imports only parts further down::

    main         `devaria worker`: serve until a signal
    server       LocalWorker: the socket, the HTTP server, its threads
    upkeep       what is done at regular times
    connections  how requests are received: time for each, checks before bodies
    app          the Flask application: health, CORS, 404s; it puts the parts below together
    dashboard/   the pages for people
    api/         the routes for runners, submitters, administrators and figure uploads
    store/       what is kept: jobs, runners, figures
    keys         the three API keys

Nothing is imported here: ``devaria --help`` must run without flask and waitress.
"""
