"""The routes of the dashboard."""

import re
from typing import Any, Dict, Mapping, Optional, Tuple, cast

from flask import Blueprint, Response, current_app, redirect, render_template, request, url_for
from werkzeug.exceptions import NotFound
from werkzeug.wrappers import Response as BaseResponse

from devaria.worker.api.figures import CONTENT_TYPES
from devaria.worker.api.jobs import checked_submission, output_of, state_of
from devaria.worker.api.waiting import tells_changes
from devaria.worker.api.web import Refusal, TooBigError, services
from devaria.worker.dashboard import views
from devaria.worker.dashboard.access import (
    PATH,
    add_headers,
    check_access,
    entered,
    left,
    name_session,
)
from devaria.worker.dashboard.job_forms import FIELD_PREFIX, JobForms, params_of
from devaria.worker.store import deep_json
from devaria.worker.store.jobs import Params

blueprint = Blueprint("dashboard", __name__, url_prefix=PATH, template_folder="templates")
blueprint.before_request(check_access)
blueprint.after_request(add_headers)
blueprint.url_defaults(name_session)

#: The application holds its `JobForms` under this name.
JOB_FORMS = "devaria-job-forms"

Job = Dict[str, Any]
JOBS_SHOWN = 100
RUNNERS_SHOWN = 50
_STATIC = ("dashboard.css", "dashboard.js", "icon.svg")
#: How long ago things happened; the page's script counts on. No text of a job holds such a tag.
_TIMES = re.compile(rb'>[^<]*</time>|data-now="\d+"')
_FILTERS = ("pending", "claimed", "in_progress", "completed", "failed")


@blueprint.get("")
def entrance() -> BaseResponse:
    """Begin a session, with the link that the worker prints."""
    return entered()


@blueprint.post("/<session>/logout")
def logout() -> BaseResponse:
    """End the session."""
    return left()


@blueprint.get("/<session>")
@tells_changes(_TIMES)
def overview() -> str:
    """Show the queue and the runners."""
    status = request.args.get("status", "")
    chosen = {"status": status} if status in _FILTERS else {}
    return _page(
        "overview.html",
        counts=services().jobs.counts(),
        filters=_FILTERS,
        chosen=chosen.get("status"),
        jobs=services().jobs.summaries(JOBS_SHOWN, **chosen),
        runners=services().runners.all(RUNNERS_SHOWN),
        num_runners=services().runners.count(),
    )


@blueprint.get("/<session>/jobs/<job_id>")
@tells_changes(_TIMES)
def show(job_id: str) -> Tuple[str, int]:
    """Show a job; with 404, a page that says that the job does not exist."""
    job = services().jobs.get(job_id)
    if job is None:
        return _page("gone.html"), 404
    output = output_of(job) if job["status"] == "completed" else None
    return _page(
        "job.html",
        job=job,
        runner=services().runners.get(job["claimed_by"] or ""),
        params=views.indented(_params(job)),
        figures=views.figures_of(output, services().figures),
        output=views.indented(output),
        console=views.console_end(job["console_output"]),
        is_cut=len(job["console_output"] or "") > views.CONSOLE_SHOWN,
        was_known="known" in request.args,
    ), 200


@blueprint.get("/<session>/jobs/<job_id>/console")
def console(job_id: str) -> Response:
    """Return the whole console of a job as plain text."""
    job = services().jobs.get(job_id)
    if job is None:
        return Response("There is no such job.\n", 404, mimetype="text/plain")
    return Response(job["console_output"] or "", mimetype="text/plain")


@blueprint.post("/<session>/jobs/<job_id>/delete")
def delete(job_id: str) -> BaseResponse:
    """Delete a job in any state and redirect to the overview."""
    services().jobs.delete(job_id)
    return redirect(url_for("dashboard.overview"), 303)


@blueprint.post("/<session>/jobs/<job_id>/rerun")
def rerun(job_id: str) -> BaseResponse:
    """Put a new job in a job's place, and redirect to the new one."""
    jobs = services().jobs
    job = jobs.get(job_id)
    again = jobs.rerun(job) if job else None
    if again is None:
        return Response(_page("gone.html"), 404)
    return redirect(url_for("dashboard.show", job_id=again), 303)


@blueprint.get("/<session>/submit")
def submit_page() -> str:
    """Show the form to submit a job; ``?type=`` selects a job type with declared parameters."""
    return _submit_page(request.args.get("type", ""), {})


@blueprint.post("/<session>/submit")
def submit() -> BaseResponse:
    """Submit a job and redirect to it, or to the same job if it was submitted before.

    A wrong submission is answered with 400: the form as it was filled in, and the reason.
    """
    job_type = request.form.get("job_type", "")
    try:
        body = {"job_type": job_type, "input_params": _submitted_params(job_type)}
        job, is_new = _submitted(*checked_submission(body))
    except Refusal as refusal:
        return Response(_submit_page(job_type, request.form, refusal.body["error"]), 400)
    except (ValueError, TooBigError) as error:
        return Response(_submit_page(job_type, request.form, str(error)), 400)
    known = None if is_new else 1
    return redirect(url_for("dashboard.show", job_id=job["job_id"], known=known), 303)


@blueprint.get("/<session>/static/<name>")
def static_file(name: str) -> Response:
    """Serve the stylesheet, the script or the icon."""
    if name not in _STATIC:
        raise NotFound
    with blueprint.open_resource(f"static/{name}") as file:
        return Response(file.read(), mimetype=CONTENT_TYPES[name.rpartition(".")[2]])


def _job_forms() -> JobForms:
    return cast(JobForms, current_app.extensions[JOB_FORMS])


def _submitted(job_type: str, params: Params) -> Tuple[Job, bool]:
    jobs = services().jobs
    job, is_new = jobs.submit(job_type, params)
    if not is_new and state_of(job)["status"] == "expired":
        return jobs.submit(job_type, params)
    return job, is_new


def _submitted_params(job_type: str) -> Any:
    form = _job_forms().get(job_type)
    if form is not None and "params" not in request.form:
        return params_of(form, request.form)
    return deep_json.loads(request.form.get("params", "").encode("utf-8", "replace"))


def _submit_page(job_type: str, fields: Mapping[str, str], error: Optional[str] = None) -> str:
    forms = _job_forms()
    is_raw = job_type not in forms or "params" in fields
    return _page(
        "submit.html",
        types=sorted(forms),
        job_type=job_type,
        form=None if is_raw else forms[job_type],
        prefix=FIELD_PREFIX,
        fields=fields,
        error=error,
    )


def _params(job: Job) -> Params:
    params: Params = deep_json.loads(job["input_params"].encode("utf-8"))
    return params


def _page(template: str, **content: Any) -> str:
    now = services().clock()
    return render_template(template, views=views, now=now, **content)
