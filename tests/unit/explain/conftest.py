from tests.models import one_thread, registered  # noqa: F401
