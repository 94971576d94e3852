"""Has the scheduled read models run now, as ``projector refresh`` does, beside the process that runs them on schedule."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from tenacity import RetryError, Retrying, retry_if_exception_type, stop_after_delay, wait_fixed

from command_api.process.settings import Settings
from deploy.local.demo_servers import DemoError
from projections.read_model import ReadModel
from projector.refresh.errors import RefreshBusyError, RefreshError
from projector.refresh.serve import refresh_now

_BUSY_S = 60.0


def refresh(settings: Settings, models: Sequence[ReadModel], told: Callable[[str], None]) -> None:
    """Run each once; `told` hears what changed. Waits while the scheduled process has one. Raises DemoError."""
    for model in models:
        again = Retrying(
            retry=retry_if_exception_type(RefreshBusyError), wait=wait_fixed(0.2), stop=stop_after_delay(_BUSY_S)
        )
        try:
            again(refresh_now, settings, models, [model.name], told=lambda line: told(f"refreshed {line}"))
        except (RefreshError, RetryError) as error:
            raise DemoError(
                f"the scheduled read model {model.name} can't be run: {error}",
                hint="look at refresher's log in the stack's folder",
            ) from error
