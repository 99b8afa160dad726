"""Chromium for tests, without a window: what a reader does, by the keys and the pointer of a reader."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from selenium import webdriver
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.by import By
from selenium.webdriver.remote.webelement import WebElement
from selenium.webdriver.support.ui import WebDriverWait
from servers import tool


class Browser:
    """One Chromium, for many pages."""

    def __init__(self) -> None:
        options = webdriver.ChromeOptions()
        options.binary_location = tool("chromium", "chromium-browser", "google-chrome")
        for argument in ("headless=new", "no-sandbox", "disable-gpu", "disable-dev-shm-usage", "hide-scrollbars"):
            options.add_argument(f"--{argument}")
        options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
        service = webdriver.ChromeService(tool("chromedriver"))
        self.driver = webdriver.Chrome(options, service)
        self.driver.set_page_load_timeout(60)

    def close(self) -> None:
        self.driver.quit()

    def open(self, page: Path, *, width: int = 1280, scheme: str = "light", scripts: bool = True) -> None:
        """Load a file as a screen of this width, colour scheme and with or without scripts shows it."""
        size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": False}
        self.command("Emulation.setDeviceMetricsOverride", **size)
        self.command("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])
        self.command("Emulation.setScriptExecutionDisabled", value=not scripts)
        self.driver.get_log("browser")
        self.driver.get(page.as_uri())

    def command(self, name: str, **arguments: Any) -> Any:
        return self.driver.execute_cdp_cmd(name, arguments)

    def run(self, script: str, *arguments: Any) -> Any:
        """What a function body of JavaScript returns."""
        return self.driver.execute_script(script, *arguments)

    def find(self, selector: str) -> WebElement:
        return self.driver.find_element(By.CSS_SELECTOR, selector)

    def all(self, selector: str) -> list[WebElement]:
        return self.driver.find_elements(By.CSS_SELECTOR, selector)

    def texts(self, selector: str) -> list[str]:
        """The text of every element that matches, hidden or not, whole; spaces at which no line ends are spaces."""
        script = (
            "return [...document.querySelectorAll(arguments[0])].map(e => e.textContent.replaceAll('\\u00a0', ' '))"
        )
        return list(self.run(script, selector))

    def press(self, *keys: str) -> None:
        """Keys, where the focus is."""
        for key in keys:
            ActionChains(self.driver).send_keys(key).perform()

    def wait_for_text(self, text: str, seconds: float = 60) -> None:
        """Until the page, which scripts build, shows a text."""
        said = f"no {text!r} on {self.driver.current_url}"
        WebDriverWait(self.driver, seconds).until(lambda _: text in self.find("body").text, said)

    def point_at(self, selector: str) -> None:
        """The pointer on the middle of an element."""
        ActionChains(self.driver).move_to_element(self.find(selector)).perform()

    def focused(self) -> dict[str, str]:
        """What has the focus: its tag, text, id and class."""
        script = "const e = document.activeElement; return {tag: e.tagName, text: e.textContent, id: e.id, href: e.getAttribute('href') || ''}"
        return dict(self.run(script))

    def complaints(self) -> list[str]:
        """What the console says since the page was opened."""
        return [entry["message"] for entry in self.driver.get_log("browser")]
