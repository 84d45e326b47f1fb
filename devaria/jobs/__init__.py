"""The job handlers that devaria brings, by job type, and what a new one is made of."""

from typing import Dict, Type

from devaria.jobs.base import HeartbeatCallback, JobHandler
from devaria.jobs.figpack_nwb_raster_plot import FigpackNwbRasterPlotHandler
from devaria.jobs.hello_world import HelloWorldHandler
from devaria.jobs.params import REQUIRED, Param

__all__ = ["JOB_HANDLERS", "REQUIRED", "HeartbeatCallback", "JobHandler", "Param"]

#: Which class runs which job type. To add a type: write its file here, and name it in this dict.
JOB_HANDLERS: Dict[str, Type[JobHandler]] = {
    "hello_world": HelloWorldHandler,
    "figpack_nwb_raster_plot": FigpackNwbRasterPlotHandler,
}
