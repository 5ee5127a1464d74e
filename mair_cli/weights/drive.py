"""The authors' shared folder on Google Drive.

Drive gives large files away only behind a page that asks for confirmation, counts downloads, and answers everything
with status 200. gdown knows these pages (and is kept up to date with them); the transfer itself is ours, with all its
checks.
"""

from __future__ import annotations

import logging
from functools import lru_cache
from pathlib import Path
from urllib.parse import urlsplit

from mair_cli.errors import DownloadError
from mair_cli.store.addresses import masked
from mair_cli.store.download import ProgressCallback, RetryPolicy, WebPageError, fetch_file
from mair_cli.store.paths import check_online
from mair_cli.weights.catalog import DRIVE_FOLDER_ID, ModelEntry

log = logging.getLogger(__name__)

_FILE_URL = "https://drive.google.com/uc?export=download&id={}"
_CONFIRMATIONS = 3
_INSTALL = "pip install 'gdown>=6.3'"


def fetch_from_drive(entry: ModelEntry, target: Path, progress: ProgressCallback | None) -> str:
    """Fetch the entry's file to `target`; returns its name in the folder.

    Raises:
        DownloadError: Drive does not give it; says in plain words why.
    """
    name, file_id = (entry.file, entry.drive_id) if entry.drive_id else _find_in_folder(entry)
    url = _FILE_URL.format(file_id)
    for _ in range(_CONFIRMATIONS):
        confirmed = _fetch_or_confirm(url, target, progress)
        if confirmed is None:
            return name
        url = confirmed
        log.info("Google Drive asks for confirmation for %s", name)
    raise DownloadError("Google Drive asks for confirmation again and again")


def _fetch_or_confirm(url: str, target: Path, progress: ProgressCallback | None) -> str | None:
    """Fetch, or return the address behind the confirmation page that came instead."""
    try:
        fetch_file(url, target, progress=progress)
    except WebPageError as error:
        return _confirmed_url(error)
    return None


def _confirmed_url(answer: WebPageError) -> str:
    """The address behind a confirmation page; raises DownloadError for every other page."""
    page = answer.page.lower()
    if "quota" in page or "too many users" in page or "download limit" in page:
        raise DownloadError("too many people fetched this file today, Google Drive's quota is used up (try tomorrow)")
    if urlsplit(answer.url).hostname == "accounts.google.com" or "servicelogin" in page:
        raise DownloadError("Google Drive wants a login: the file is no longer shared with everyone")
    if "unusual traffic" in page or "recaptcha" in page:
        raise DownloadError("Google Drive takes this machine's address for a robot's")
    try:
        from gdown.download import get_url_from_gdrive_confirmation
        from gdown.exceptions import FileURLRetrievalError
    except ImportError as error:
        raise DownloadError(f"Google Drive asks for confirmation, which needs gdown: {_INSTALL}") from error
    try:
        url = str(get_url_from_gdrive_confirmation(answer.page))
    except (FileURLRetrievalError, AssertionError, KeyError, ValueError) as error:
        raise DownloadError("Google Drive sent a web page in place of the file") from error
    host = urlsplit(url).hostname or ""
    if not (host == "google.com" or host.endswith((".google.com", ".googleusercontent.com"))):
        raise DownloadError("Google Drive sent a web page that leads elsewhere")
    return url


def _find_in_folder(entry: ModelEntry) -> tuple[str, str]:
    listed = _folder_listing()
    for name in entry.files:
        if name in listed:
            return name, listed[name]
    raise DownloadError(f"the authors' folder on Google Drive lists no {entry.file}")


@lru_cache(maxsize=1)
def _folder_listing() -> dict[str, str]:
    """Names of the files in the folder and below, with their ids."""
    check_online("the authors' folder on Google Drive is not listed")
    try:
        import gdown
        from gdown.exceptions import DownloadError as GdownError
    except ImportError as error:
        raise DownloadError(f"listing the authors' folder on Google Drive needs gdown: {_INSTALL}") from error
    import requests

    seconds = RetryPolicy.from_environment().seconds
    try:
        files = gdown.download_folder(
            id=DRIVE_FOLDER_ID, skip_download=True, quiet=True, use_cookies=False, timeout=seconds
        )
    except (requests.ConnectionError, requests.Timeout) as error:
        raise DownloadError("the authors' folder on Google Drive cannot be listed (no connection)") from error
    except (GdownError, requests.RequestException, OSError, AttributeError, ValueError, RecursionError) as error:
        raise DownloadError(
            f"the authors' folder on Google Drive cannot be listed ({masked(str(error)).splitlines()[0][:120]})"
        ) from error
    return {Path(file.path).name: str(file.id) for file in files if not isinstance(file, str)}
