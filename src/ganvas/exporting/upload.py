"""Uploads a folder to the Hugging Face hub, with the user's own token; only where --upload asks for it."""

import re
from collections.abc import Callable, Sequence
from pathlib import Path

from ganvas.errors import GanvasError

_REPOSITORY = re.compile(r"\w[\w.-]*/\w[\w.-]*")


def prepare(repository: str, remove: Sequence[str]) -> Callable[[Path], str]:
    """What uploads a folder to a repository, and returns its address; checked before anything is written.

    Args:
        repository: owner/name.
        remove: the names of files that are removed there if the folder does not have them.

    Raises:
        GanvasError: the name is none, or the package is missing.
    """
    if not _REPOSITORY.fullmatch(repository) or ".." in repository:
        raise GanvasError(f"--upload is {repository!r}.", expected="owner/name")
    try:
        import huggingface_hub  # type: ignore[import-not-found]
    except ImportError as error:
        raise GanvasError(
            "--upload needs the package huggingface_hub, which is not installed.",
            expected="the packages of the extra `hub`",
            fix="pip install 'ganvas[hub]'",
        ) from error

    def upload(folder: Path) -> str:
        try:
            hub = huggingface_hub.HfApi()
            address = hub.create_repo(repository, repo_type="model", exist_ok=True)
            hub.upload_folder(
                repo_id=repository, repo_type="model", folder_path=str(folder), delete_patterns=list(remove),
                commit_message="A generator of Ganvas",
            )  # fmt: skip
            return str(address)
        except Exception as error:  # the package passes on any error of its network layers
            reason = (str(error).splitlines() or [""])[0][:300] or type(error).__name__
            raise GanvasError(
                f"{folder} is written, but could not be uploaded to {repository} ({reason}).",
                expected="a connection, and a token that may write there: hf auth login, or HF_TOKEN",
                fix=f"then: hf upload {repository} {folder}",
            ) from error

    return upload
