"""figpack_nwb_pose_estimation: show the body parts of a pose estimation as they move."""

from typing import TYPE_CHECKING, Any, ClassVar, Mapping, NamedTuple, Sequence

from devaria.figures.progress import Progress
from devaria.jobs.nwb_figure import Figure, NwbFigureHandler, figure_params
from devaria.jobs.params import Param

if TYPE_CHECKING:
    from devaria.figures.pose_arrays import PoseArrays
    from devaria.nwb.pose.parts import PoseSetting


class _Pose(NamedTuple):
    setting: "PoseSetting"
    arrays: "PoseArrays"
    notes: Sequence[str]


class FigpackNwbPoseEstimationHandler(NwbFigureHandler):
    """Reads a PoseEstimation over HTTP ranges, and uploads a player of its parts."""

    title: ClassVar[str] = "Pose Estimation from NWB"
    figure_name: ClassVar[str] = "pose figure"
    path_param: ClassVar[str] = "path"
    path_example: ClassVar[str] = "/processing/behavior/PoseEstimation"
    source_name: ClassVar[str] = "Pose estimation"
    params: ClassVar[Mapping[str, Param]] = figure_params(
        path=Param(str, "path of a PoseEstimation, such as /processing/behavior/PoseEstimation")
    )
    in_pieces: ClassVar[bool] = True
    modules: ClassVar[Sequence[str]] = ("devaria.figures.pose", "devaria.nwb.pose.reader")

    def read(self, file: Any, path: str, params: Mapping[str, Any], progress: Progress) -> _Pose:
        """Read the parts one after another. Each is quantised at once, to save memory."""
        del params
        from devaria.figures.pose_arrays import PoseArrays, frames_apart
        from devaria.nwb.pose.reader import PoseReader

        reader = PoseReader(file, path)
        num_parts, num_frames = len(reader.num_frames), max(reader.num_frames)
        step = frames_apart(reader.num_frames)
        arrays = PoseArrays(num_parts)
        for part in reader.parts(step):
            arrays.add(part)
            del part  # before the next one is read
            progress.read_and_built("Read", len(arrays.parts), num_parts, "parts")
        setting = reader.setting(step)
        self.log(f"Read {num_parts:,} parts, at most {num_frames:,} frames each")
        notes = reader.notes
        if step > 1:
            notes = [f"One of {step} frames is shown: there are too many for a figure", *notes]
        return _Pose(setting, arrays, notes)

    def draw(self, data: _Pose, params: Mapping[str, Any], progress: Progress) -> Figure:
        """Build the figure."""
        del params, progress
        from devaria.figures.pose import PoseView

        return Figure(PoseView(data.setting, data.arrays, data.notes), list(data.notes))
