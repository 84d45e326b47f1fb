"""What every synthetic NWB file holds, and how its objects are marked."""

import datetime
import uuid
from typing import Any

import h5py

#: Version of the NWB schema that the file follows. The schema itself is not stored in the file.
_NWB_VERSION = "2.6.0"


def write_session(file: h5py.File, description: str) -> None:
    """Write the metadata and the groups that an NWB file must have.

    Args:
        file: An empty file.
        description: What the session is, in a sentence.
    """
    file.attrs["nwb_version"] = _NWB_VERSION
    mark(file, "NWBFile")
    now = datetime.datetime.now(datetime.timezone.utc).isoformat()
    file["identifier"] = str(uuid.uuid4())
    file["session_description"] = description
    file["session_start_time"] = now
    file["timestamps_reference_time"] = now
    file.create_dataset("file_create_date", data=[now], maxshape=(None,), dtype=h5py.string_dtype())
    for name in ("acquisition", "analysis", "general", "processing", "stimulus"):
        file.create_group(name)
    file.create_group("stimulus/presentation")
    file.create_group("stimulus/templates")


def marked_group(
    parent: h5py.Group, name: str, neurodata_type: str, namespace: str = "core", **attributes: Any
) -> h5py.Group:
    """Create a group that is an object of NWB.

    Args:
        parent: The group that it lies in.
        name: Its name.
        neurodata_type: Its type.
        namespace: Where its type is defined.
        attributes: Its other attributes.
    """
    group = parent.create_group(name)
    mark(group, neurodata_type, namespace)
    group.attrs.update(attributes)
    return group


def mark(target: h5py.HLObject, neurodata_type: str, namespace: str = "core") -> None:
    """Give a group or dataset the attributes of an NWB object."""
    target.attrs["namespace"] = namespace
    target.attrs["neurodata_type"] = neurodata_type
    target.attrs["object_id"] = str(uuid.uuid4())
