"""Published models on the Hugging Face Hub, or on a server that speaks as it does."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from casvit_mm.errors import InputError

__all__ = ['push']


def push(repository: str, files: Sequence[Path]) -> str:
    """Put files into a repository of models, as one commit.

    Who may write there, ``hf auth login`` or ``HF_TOKEN`` says; ``HF_ENDPOINT`` names another
    server.

    Args:
        repository: ``user/name``; made, for its owner alone, where there is none.
        files: The files, which lie at its top.

    Returns:
        Address of the commit or the repository.

    Raises:
        InputError: If the name is none, or the server does not take them.
    """
    from huggingface_hub import CommitOperationAdd, HfApi
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError

    api = HfApi(library_name='casvit_mm')
    adds = [CommitOperationAdd(file.name, str(file)) for file in files]
    try:
        made = api.create_repo(repository, private=True, exist_ok=True)
        message = f'Publish {files[0].name}'
        done = api.create_commit(made.repo_id, adds, commit_message=message)
    except HFValidationError as error:
        raise InputError(f'--push {repository} is no user/name of a repository: {error}') from error
    except (HfHubHTTPError, OSError) as error:
        raise InputError(
            f'--push {repository}: the Hub does not take it: {error}\nThe files are written. '
            'Look at hf auth login, the name and the network'
        ) from error
    return done.commit_url or str(made)
