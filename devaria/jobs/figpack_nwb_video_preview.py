"""figpack_nwb_video_preview: show frames of a remote NWB file's image series as a video."""

from typing import (
    TYPE_CHECKING,
    Any,
    ClassVar,
    Iterator,
    Mapping,
    NamedTuple,
    Optional,
    Sequence,
    Tuple,
)

from devaria.figures.progress import Progress
from devaria.jobs.nwb_figure import Figure, NwbFigureHandler, figure_params
from devaria.jobs.params import Param

if TYPE_CHECKING:
    from fractions import Fraction

    from devaria.figures.video_encoder import EncodedVideo
    from devaria.figures.video_scaling import ValueRange
    from devaria.nwb.images.series import ImageSeries
    from devaria.nwb.images.times import ShownFrames

#: Frames a second of a video that spans the recording, or whose times are not known.
_WHOLE_RATE = 30

#: The slowest and the fastest video, in frames a second.
_MIN_RATE, _MAX_RATE = 0.1, 1000.0

#: A speed that differs from the true one by less than this, relatively, counts as the true one.
_EVEN = 0.005


class _Encoded(NamedTuple):
    """What `read` hands to `draw`.

    Args:
        series: The image series.
        shown: The frames that were chosen.
        video: The video of them.
        levels: How values became grey levels, as a sentence.
    """

    series: "ImageSeries"
    shown: "ShownFrames"
    video: "EncodedVideo"
    levels: str


class FigpackNwbVideoPreviewHandler(NwbFigureHandler):
    """Reads frames of an image series over HTTP ranges, and uploads a video of them."""

    title: ClassVar[str] = "Video Preview from NWB Image Series"
    figure_name: ClassVar[str] = "video preview"
    path_param: ClassVar[str] = "image_series_path"
    path_example: ClassVar[str] = "/acquisition/TwoPhotonSeries"
    source_name: ClassVar[str] = "Image series"
    params: ClassVar[Mapping[str, Param]] = figure_params(
        image_series_path=Param(
            str, "path of an ImageSeries in the file, or of a type derived from it"
        ),
        max_frames=Param(int, "most frames of the video", default=1000, minimum=1, maximum=5000),
        mode=Param(
            str,
            "whole: frames spread over the recording, 30 a second; "
            "start: the first frames, at their true rate",
            default="whole",
            choices=("whole", "start"),
        ),
    )
    packages: ClassVar[Mapping[str, Tuple[str, str]]] = {"av": ("av", "video")}
    in_pieces: ClassVar[bool] = True
    modules: ClassVar[Sequence[str]] = ("devaria.figures.video", "devaria.nwb.images.opening")
    modules_are_large: ClassVar[bool] = True  # PyAV: 17 MB

    def read(self, file: Any, path: str, params: Mapping[str, Any], progress: Progress) -> _Encoded:
        """Read the frames, and encode them as they come: only a few are held at a time."""
        from devaria.figures.video_encoder import encode_video
        from devaria.nwb.images.opening import open_image_series

        series = open_image_series(file, path, self.path_param)
        shown = series.times.shown(params["mode"], params["max_frames"])
        count = len(shown.rows)
        self.log(f"Reading {count:,} of {series.shape[0]:,} frames ({series.type_name})")
        values, levels = _grey_levels(series, file, shown)

        def counted() -> Iterator[Any]:
            for number, frame in enumerate(series.frames(file, shown.rows), 1):
                yield frame
                progress.read_and_built("Encoded", number, count, "frames")

        video = encode_video(
            counted(),
            values,
            self.run_dir / "video.mp4",
            frame_rate=_frame_rate(shown, params["mode"]),
            expected_frames=count,
        )
        return _Encoded(series, shown, video, levels)

    def draw(self, data: _Encoded, params: Mapping[str, Any], progress: Progress) -> Figure:
        """Build the player, and say what it shows."""
        from devaria.figures.video import VideoView

        del progress  # the video is made already

        series, shown, video, levels = data
        notes = [_selection(series, shown, video, params["mode"]), levels, *series.notes]
        view = VideoView(
            video,
            shown,
            frames_in_file=series.shape[0],
            name=series.path,
            caption=[_size(series, video), *notes],
        )
        return Figure(view, notes, {"num_frames": video.num_frames})


def _grey_levels(
    series: "ImageSeries", file: Any, shown: "ShownFrames"
) -> Tuple[Optional["ValueRange"], str]:
    """Choose the values to show black and white, from a few frames, and say so."""
    from devaria.figures.video_scaling import value_range

    if series.is_colour and series.dtype == "uint8":
        return None, "Colours as they are in the file"
    values = value_range(series.sample(file, shown.rows))
    return values, values.in_words


def _frame_rate(shown: "ShownFrames", mode: str) -> "Fraction":
    from fractions import Fraction  # every job process imports this module

    if mode == "whole" or shown.rate_hz is None:
        return Fraction(_WHOLE_RATE)
    rate_hz = min(_MAX_RATE, max(_MIN_RATE, shown.rate_hz))
    return Fraction(rate_hz).limit_denominator(1000)


def _selection(
    series: "ImageSeries", shown: "ShownFrames", video: "EncodedVideo", mode: str
) -> str:
    """Say which frames the video shows, and how fast."""
    from devaria.figures.video import speed_up

    count, total = len(shown.rows), series.shape[0]
    if count == total:
        which = f"All {total:,} frames"
    elif mode == "whole":
        which = f"{count:,} frames, spread over all {total:,}"
    else:
        which = f"The first {count:,} of {total:,} frames"
    if shown.has_times:
        which += f", {shown.times_sec[0]:,.6g} to {shown.times_sec[-1]:,.6g} s"
    factor = speed_up(video, shown)
    if factor is None:
        speed = ""
    elif abs(factor - 1) < _EVEN:
        speed = ", real time"
    else:
        speed = f", {factor:,.3g} times real time"
    return f"{which}: {float(video.frame_rate):,.4g} a second{speed}"


def _size(series: "ImageSeries", video: "EncodedVideo") -> str:
    rows, columns = series.shape[1:3]
    text = f"{series.type_name}, {columns:,} x {rows:,} pixels of {series.dtype.name}"
    if columns > video.width:
        text += f", made smaller to {video.width:,} x {video.height:,}"
    return text
