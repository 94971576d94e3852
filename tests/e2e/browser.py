"""A headless Chromium, the distribution's own, driven through its chromedriver.

Promised: a machine without it fails the test with the packages' names; a page that wrote an error to its console, or was
refused something by its Content-Security-Policy, fails too; the browser is gone when the block ends.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from selenium.common.exceptions import NoSuchElementException, StaleElementReferenceException
from selenium.webdriver import Chrome, ChromeOptions, ChromeService
from selenium.webdriver.common.by import By
from selenium.webdriver.remote.webelement import WebElement

from tests.e2e.pipeline import wait_for

MISSING = "\u2013"
"""What the page writes for a figure that nobody measured: a dash."""

_PACKAGES = "apt-get install chromium chromium-driver (Debian, Ubuntu)"


def _program(*names: str) -> str:
    for name in names:
        if (found := shutil.which(name)) is not None:
            return found
    pytest.fail(f"there is no {names[0]} on this machine, and the page is tested in a real browser: {_PACKAGES}")


class Browser:
    """One tab. pictures: where `shoot` leaves them, to be looked at. expected: parts of console messages that a test
    provokes (a 401, a dead server).
    """

    def __init__(self, driver: Chrome, pictures: Path) -> None:
        self.driver = driver
        self.pictures = pictures
        self.expected: list[str] = []

    def open(self, url: str) -> None:
        self.driver.get(url)

    def find(self, css: str) -> WebElement:
        return self.driver.find_element(By.CSS_SELECTOR, css)

    def all(self, css: str) -> list[WebElement]:
        return self.driver.find_elements(By.CSS_SELECTOR, css)

    def text(self, css: str) -> str:
        """What a user reads there; empty when nothing is there."""
        try:
            return self.find(css).text
        except (NoSuchElementException, StaleElementReferenceException):
            return ""

    def texts(self, css: str) -> list[str]:
        """What a user reads in each, all at one moment: what is replaced meanwhile is there before or after."""
        found: list[str] = self.run(
            "return [...document.querySelectorAll(arguments[0])].map((one) => one.innerText)", css
        )
        return found

    def wait(self, what: str, condition: Callable[[], Any], seconds: float = 30) -> Any:
        return wait_for(what, condition, seconds, lambda: self.text("body")[:3_000])

    def run(self, script: str, *arguments: Any) -> Any:
        return self.driver.execute_script(script, *arguments)

    def size(self, width: int, height: int) -> None:
        """Of the page, as a device's screen."""
        self.driver.execute_cdp_cmd(
            "Emulation.setDeviceMetricsOverride",
            {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600},
        )

    def prefer(self, scheme: str) -> None:
        """light or dark, as the system's setting."""
        features = [{"name": "prefers-color-scheme", "value": scheme}]
        self.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})

    def shoot(self, name: str, *, width: int = 1360, most: int = 2_600) -> None:
        """A picture of the whole page, or of its first `most` pixels, at a width."""
        self.size(width, 900)
        self.size(width, min(self.run("return document.documentElement.scrollHeight"), most))
        (self.pictures / f"{name}.png").write_bytes(self.driver.get_screenshot_as_png())
        self.size(1360, 900)

    def console(self) -> list[str]:
        """The errors and warnings since the last call that no test expects."""
        found = [str(entry["message"]) for entry in self.driver.get_log("browser")]
        return [message for message in found if not any(part in message for part in self.expected)]


@contextmanager
def browsing(folder: Path) -> Iterator[Browser]:
    """A browser of its own profile below `folder`."""
    options = ChromeOptions()
    options.binary_location = _program("chromium", "chromium-browser", "google-chrome")
    for argument in (
        "--headless=new",
        "--no-sandbox",  # root in a container has none
        "--disable-dev-shm-usage",
        "--disable-gpu",
        "--no-proxy-server",
        "--disable-background-networking",
        "--window-size=1360,900",
        f"--user-data-dir={folder / 'browser'}",
    ):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = Chrome(
        options=options, service=ChromeService(_program("chromedriver"), log_output=str(folder / "driver.log"))
    )
    try:
        browser = Browser(driver, folder)
        yield browser
        assert browser.console() == []
    finally:
        driver.quit()
