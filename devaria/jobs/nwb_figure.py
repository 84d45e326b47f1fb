"""The base of the handlers that draw a figure from a remote NWB file.

The file comes from a stranger, so a process without keys reads it. Meanwhile this process imports
what draws figures. These imports take a second or more, so they stand inside functions: the runner
and the processes of other jobs start without them.
"""

import os
import time
from abc import abstractmethod
from pathlib import Path
from typing import (
    TYPE_CHECKING,
    Any,
    ClassVar,
    Dict,
    List,
    Mapping,
    NamedTuple,
    Sequence,
    Tuple,
)

from devaria.common.text import one_line
from devaria.figures.api_key import KEY_MISSING, KEY_VARIABLE
from devaria.figures.progress import Progress
from devaria.jobs.base import HeartbeatCallback, JobHandler
from devaria.jobs.figure_needs import (
    import_all,
    keep_numpy_to_one_thread,
    missing_needs,
    read_limits,
)
from devaria.jobs.figure_text import (
    LINK_PARAMS,
    MAX_NOTE_CHARACTERS,
    described,
    link_texts,
    titled,
)
from devaria.jobs.params import Param

if TYPE_CHECKING:
    from contextlib import ExitStack

    from devaria.figures.upload.connections import UploadConnections
    from devaria.nwb.sandbox.remote import RemoteNwb


def figure_params(**own: Param) -> Dict[str, Param]:
    """Return the parameters of a figure's job type.

    Args:
        own: Those that other figures do not have, by name; first the path in the file.
    """
    return {
        "nwb_url": Param(str, "http or https URL of an NWB 2 file"),
        **own,
        "neurosift_url": Param(str, "the web page that asks for the figure", default=""),
        "dandiset_id": Param(str, "the Dandiset that the file belongs to", default=""),
    }


class Figure(NamedTuple):
    """A figure that is ready to be published.

    Args:
        view: A view of figpack.
        notes: What the description and the console say besides, such as what was left out. Each
            is one line of plain text, and may hold names from the file.
        result: Entries of the job's result, beside the figure's URL and the parameters.
        title_end: What the title says besides what the figure shows.
    """

    view: Any
    notes: Sequence[str] = ()
    result: Mapping[str, Any] = {}
    title_end: str = ""


class NwbFigureHandler(JobHandler):
    """Reads a part of an NWB file in a process without keys, draws it and publishes the figure.

    A subclass sets the class attributes, and implements `read` and `draw`.
    """

    #: How the titles of the figures start.
    title: ClassVar[str]

    #: What it draws, in lower case, such as "raster plot".
    figure_name: ClassVar[str]

    #: The parameter that holds the path in the file, and an example of it.
    path_param: ClassVar[str]
    path_example: ClassVar[str]

    #: What lies at that path, such as "Units table".
    source_name: ClassVar[str]

    #: Which package each further import comes from, and which extra of devaria installs it:
    #: `{module: (package, extra)}`.
    packages: ClassVar[Mapping[str, Tuple[str, str]]] = {}

    #: The modules that `draw` needs. They are imported while the file is read, or while the runner
    #: is idle.
    modules: ClassVar[Sequence[str]] = ()

    #: Whether their imports take too much memory for an idle runner.
    modules_are_large: ClassVar[bool] = False

    #: Whether `read` reads piece by piece. It then reports the progress, with
    #: `Progress.read_and_built`; else the bytes that are read are the progress.
    in_pieces: ClassVar[bool] = False

    #: Parameters that the result has only where a job gives them.
    unsaid: ClassVar[Sequence[str]] = ()

    _connections: "UploadConnections"

    @abstractmethod
    def read(
        self, file: "RemoteNwb", path: str, params: Mapping[str, Any], progress: Progress
    ) -> Any:
        """Read what the figure needs. The reading process ends afterwards.

        Args:
            file: The open file.
            path: The checked path in it.
            params: The job's parameters.
            progress: Takes the progress, if `in_pieces` is set.

        Returns:
            What `draw` gets. Arrays may lie in the folder of the file.

        Raises:
            InvalidInputError: A parameter is wrong.
            NwbError: The file cannot be used.
        """

    @abstractmethod
    def draw(self, data: Any, params: Mapping[str, Any], progress: Progress) -> Figure:
        """Build the figure.

        Args:
            data: What `read` returned.
            params: The job's parameters.
            progress: Takes the progress; a view may report while it is written.

        Raises:
            NwbError: The figure cannot be drawn.
        """

    def run(
        self,
        input_params: Dict[str, Any],
        heartbeat_callback: HeartbeatCallback,
        run_dir: Path,
    ) -> Dict[str, Any]:
        """Run one job. Optional texts that are no texts count as not given."""
        texts = link_texts(input_params)
        others = {name: each for name, each in input_params.items() if name not in LINK_PARAMS}
        result = super().run({**others, **texts}, heartbeat_callback, run_dir)
        # The result has what was given, without the defaults of these texts.
        unsaid = {*LINK_PARAMS, *self.unsaid} - texts.keys() - others.keys()
        return {name: each for name, each in result.items() if name not in unsaid}

    def execute(
        self, input_params: Dict[str, Any], heartbeat_callback: HeartbeatCallback
    ) -> Dict[str, Any]:
        """Run one job.

        Args:
            input_params: The parameters that `params` declares.
            heartbeat_callback: Called with the percentage done.

        Returns:
            `figpack_url`, the parameters, and what the figure adds.

        Raises:
            ValueError: A parameter is missing or malformed, or names nothing that can be drawn.
            NwbError: The file cannot be fetched, is damaged, or holds nothing to draw.
            RuntimeError: `FIGPACK_API_KEY` is not set, or the upload failed.
        """
        from contextlib import ExitStack

        from devaria.nwb.sandbox.ahead import reading_folder

        if not os.environ.get(KEY_VARIABLE):
            raise RuntimeError(KEY_MISSING)  # before minutes of work are lost
        progress = Progress(
            lambda percent: heartbeat_callback(progress_current=percent, progress_total=100),
            self.log,
        )
        end_sec = time.monotonic() + read_limits().max_total_sec
        with ExitStack() as stack:
            folder = stack.enter_context(reading_folder())
            data = self._read(input_params, folder, progress, stack)
            self._connections.open_ahead()  # those that were closed while the file was read
            figure = self.draw(data, input_params, progress)
            for note in figure.notes:
                self.log(one_line(note, MAX_NOTE_CHARACTERS))
            figure_url = self.publish(figure, input_params, progress, end_sec)
        self.log(f"Figure URL: {figure_url}")
        progress.reached(100)
        self.log("Completed!")
        given = {name: input_params[name] for name in self.params if name in input_params}
        return {"figpack_url": figure_url, **given, **figure.result}

    @classmethod
    def missing_requirements(cls) -> List[str]:
        """Return why this machine cannot draw such figures.

        Returns:
            A sentence for each package that is not installed, for a variable that sets a read
            limit to no valid number, and for a missing figpack key.
        """
        return missing_needs(cls.packages)

    @classmethod
    def preload(cls) -> None:
        """Import what draws and uploads figures, and start a process that will read the file."""
        from devaria.nwb.sandbox.ahead import start_reading_process

        start_reading_process()
        keep_numpy_to_one_thread()
        import_all(() if cls.modules_are_large else cls.modules)

    def publish(
        self, figure: Figure, params: Mapping[str, Any], progress: Progress, end_sec: float
    ) -> str:
        """Publish the figure.

        Args:
            figure: The figure.
            params: The job's parameters, for the description.
            progress: Takes the number of uploaded files.
            end_sec: When the job's time is over, by the monotonic clock.

        Returns:
            The figure's URL.

        Raises:
            RuntimeError: The figure could not be built, or the upload failed.
        """
        from devaria.figures.upload import UploadLimits, publish

        def uploaded(done: int, total: int) -> None:
            if not done:
                self.log(f"Created the {self.figure_name}")
                self.log("Uploading the figure")
            progress.uploaded(done, total)

        path = params[self.path_param]
        return publish(
            figure.view,
            title=titled(self.title, params["nwb_url"], path, figure.title_end),
            description=described(params, self.source_name, path, figure.notes),
            progress=uploaded,
            limits=UploadLimits(max_total_sec=end_sec - time.monotonic()),
            connections=self._connections,
        )

    def _read(
        self, params: Mapping[str, Any], folder: Path, progress: Progress, stack: "ExitStack"
    ) -> Any:
        from concurrent.futures import ThreadPoolExecutor

        from devaria.nwb import open_remote
        from devaria.nwb.links import file_url
        from devaria.nwb.params import checked_path, shown_url

        self.log("Importing libraries")
        url = file_url(params.get("nwb_url"))
        path = checked_path(params.get(self.path_param), self.path_param, self.path_example)
        keep_numpy_to_one_thread()
        with ThreadPoolExecutor(1) as pool:
            with open_remote(
                url,
                limits=read_limits(),
                folder=folder,
                say=self.log,
                progress=_nothing if self.in_pieces else progress.read,
            ) as file:
                prepared = pool.submit(self._prepare, stack)  # while the file is read
                self.log(f"Loading NWB file from {shown_url(url)}")
                self.log(f"{self.path_param.replace('_', ' ').capitalize()}: {path}")
                data = self.read(file, path, params, progress)
            self._connections = prepared.result()
        return data

    def _prepare(self, stack: "ExitStack") -> "UploadConnections":
        """Import what builds and uploads figures, and begin to connect."""
        import_all(self.modules)
        from devaria.figures.upload import opened_connections

        return stack.enter_context(opened_connections())


def _nothing(_done: int, _total: int) -> None:
    """Report no progress."""
