import pytest

from virt_ova.progress import Monitor, SilentMonitor


def test_the_silent_monitor_hears_everything_and_says_nothing(capfd: pytest.CaptureFixture[str]) -> None:
    monitor: Monitor = SilentMonitor()
    monitor.begin("Copying", 10)
    monitor.advance("Copying", 10)
    monitor.end("Copying")
    monitor.note("Removed volume a")
    assert capfd.readouterr() == ("", "")
