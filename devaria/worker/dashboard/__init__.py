"""The web pages of the local worker, for people in a browser.

::

    pages        the routes
    access       who may see the pages, and what a browser may do with them
    views        values as the pages show them; no HTML
    job_forms    forms for jobs whose parameters are declared
    templates/   the HTML
    static/      stylesheet, script and icon; the script keeps an open page up to date
"""
