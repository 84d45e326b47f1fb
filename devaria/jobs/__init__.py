"""The job handlers of devaria, by job type, and the classes to write a new one with."""

from typing import Dict, Type

from devaria.common.errors import JobError
from devaria.jobs.base import HeartbeatCallback, JobHandler
from devaria.jobs.figpack_nwb_pose_estimation import FigpackNwbPoseEstimationHandler
from devaria.jobs.figpack_nwb_raster_plot import FigpackNwbRasterPlotHandler
from devaria.jobs.figpack_nwb_video_preview import FigpackNwbVideoPreviewHandler
from devaria.jobs.hello_world import HelloWorldHandler
from devaria.jobs.params import REQUIRED, Param

__all__ = ["JOB_HANDLERS", "REQUIRED", "HeartbeatCallback", "JobError", "JobHandler", "Param"]

#: Which class runs which job type. To add a type, write its module here and add it to this dict.
JOB_HANDLERS: Dict[str, Type[JobHandler]] = {
    "hello_world": HelloWorldHandler,
    "figpack_nwb_raster_plot": FigpackNwbRasterPlotHandler,
    "figpack_nwb_pose_estimation": FigpackNwbPoseEstimationHandler,
    "figpack_nwb_video_preview": FigpackNwbVideoPreviewHandler,
}
