"""A notebook in JupyterLab, in Chromium: what the tests do there and look at.

Nothing here waits for a time: JupyterLab tells when cells have run and when the kernel has done
with a widget's message.
"""

import re
from pathlib import Path

import nbformat
from browser import JupyterLab, wait_until

WIDTH, HEIGHT = 1366, 768  # a laptop's screen

# What the tests call in the page; JupyterLab is started with --expose-app-in-browser.
SCRIPT = """
window.frames_drawn = () => new Promise(
    done => requestAnimationFrame(() => requestAnimationFrame(done)));
window.kernel = () => jupyterapp.shell.currentWidget.sessionContext.session.kernel;
window.follow = () => {  // which messages of widgets the kernel has not done with, what runs
    window.asked = new Set();
    kernel().anyMessage.connect((_, {direction, msg: {header, parent_header, content}}) => {
        if (direction === 'send' && header.msg_type === 'comm_msg') asked.add(header.msg_id);
        if (content.execution_state === 'idle') asked.delete(parent_header.msg_id);
        if (content.execution_state === 'starting') asked.clear() });
    jupyterapp.commands.commandExecuted.connect(
        (_, {id, result}) => { if (/run-all/.test(id)) window.running = result }) };
window.settled = async () => {
    // An answer is handled after all that came before it. Once is not enough: a widget that was
    // moved while the kernel had not done with its last message sends the next one then.
    for (let quiet = 0; quiet < 2; quiet = asked.size ? 0 : quiet + 1)
        await kernel().requestKernelInfo();
    await frames_drawn() };
window.expect = image => { image.before = image.src; image.coming = new Promise(
    done => ['load', 'error'].forEach(kind => image.addEventListener(kind, done, {once: true}))) };
window.arrived = async image => {  // whether there is a new picture
    await settled();
    if (image.src === image.before) return false;
    await image.coming;
    await frames_drawn();
    return image.naturalWidth > 0 };
window.look = async image => {
    const canvas = new OffscreenCanvas(image.naturalWidth, image.naturalHeight);
    const context = canvas.getContext('2d');
    context.drawImage(image, 0, 0);
    const pixels = context.getImageData(0, 0, canvas.width, canvas.height).data;
    const digest = new Uint8Array(await crypto.subtle.digest('SHA-256', pixels));
    return [...digest].map(byte => byte.toString(16)).join(' ') };
window.place = image => {  // of the picture in its output, and the height of what belongs to it
    const output = image.closest('.jp-OutputArea'), a = image.getBoundingClientRect();
    const b = output.getBoundingClientRect();
    return [a.x - b.x, a.y - b.y, a.width, a.height, b.height].map(Math.round) };
"""
READY = "jupyterapp.shell.currentWidget?.sessionContext?.session?.kernel?.status === 'idle'"
# Whether each widget stands where its output is, and each picture is there.
DRAWN = """() => [...document.querySelectorAll(
    "[data-mime-type='application/vnd.jupyter.widget-view+json']")].every(
        output => output.querySelector('.jupyter-widgets'))
    && [...document.images].every(image => image.complete)"""

# Kind: (what holds the label, what is operated, where its value stands)
CONTROLS = {
    "slider": (".widget-slider", ".noUi-handle", "e => e.getAttribute('aria-valuenow')"),
    "dropdown": (".widget-dropdown", "select", "e => e.selectedIndex"),
    "buttons": (
        ".widget-toggle-buttons",
        ".widget-toggle-button:first-child",
        "e => [...e.parentElement.children].findIndex(b => b.classList.contains('mod-active'))",
    ),
    "checkbox": (".widget-checkbox", "input", "e => e.checked"),
}
BOX_WITH_PICTURE = (
    "xpath=ancestor::*[contains(@class, 'widget-box')][.//img[contains(@class, 'widget-image')]][1]"
)


# What JupyterLab says of itself on a slow or busy machine; no other line is tolerated.
TOLERATED = re.compile(
    r"warning: (Plugin \S+ .*(took [\d.]+ ?ms|is taking too long) to activate\."
    r"|Item with index \d+ did not appear within \d+ ms)",
    re.DOTALL,
)


def prepare(source: Path, target: Path) -> None:
    """Copy a notebook without its outputs."""
    notebook = nbformat.read(source, as_version=4)
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None
    notebook.metadata.pop("widgets", None)
    nbformat.write(notebook, target)


class NotebookPage:
    """One notebook, opened alone, with a kernel of its own."""

    def __init__(self, context, lab: JupyterLab, name: str):
        self.lab, self.name = lab, name
        self.console: list[str] = []
        self.page = page = context.new_page()
        page.set_default_timeout(300_000)  # on any machine; nothing takes long but what hangs
        page.add_init_script(SCRIPT)
        page.on("console", self._note)
        page.on("pageerror", lambda error: self.console.append(f"uncaught: {error}"))
        self.root = page.locator(".jp-NotebookPanel:visible .jp-Notebook")
        self.code_cells = self.root.locator(".jp-CodeCell")

    def open(self) -> None:
        self.page.goto(self.lab.address(self.name))
        self.root.wait_for()
        self.page.locator("#jupyterlab-splash").wait_for(state="detached")
        self.page.wait_for_function(READY)
        self.page.evaluate("follow()")

    def _note(self, message) -> None:
        line = f"{message.type}: {message.text}"
        if message.type in ("error", "warning") and not TOLERATED.fullmatch(line):
            self.console.append(line)

    def close(self) -> None:
        """Close the page and shut its kernel down."""
        self.page.close()
        for session in self.lab.api("sessions"):
            self.lab.api(f"sessions/{session['id']}", "DELETE")

    def choose(self, menu: str, item: str) -> None:
        """Choose from the menu bar."""
        self.page.get_by_role("menuitem", name=menu, exact=True).first.click()
        self.page.get_by_role("menuitem", name=item).first.click()

    def run_all(self) -> None:
        self.choose("Run", "Run All Cells")
        self._wait_for_the_cells()

    def restart_and_run_all(self) -> None:
        self.choose("Kernel", "Restart Kernel and Run All Cells")
        self.page.get_by_role("button", name="Confirm Kernel Restart").click()
        self._wait_for_the_cells()

    def _wait_for_the_cells(self) -> None:
        self.page.evaluate("window.running")
        self.page.evaluate("settled()")
        self.page.wait_for_function(DRAWN)

    def run(self, cell) -> None:
        """Run one code cell; open it first if it is folded."""
        cell.scroll_into_view_if_needed()
        if (folded := cell.locator(".jp-InputPlaceholder .jp-Placeholder-content")).count():
            folded.click()
        prompt = cell.locator(".jp-InputPrompt")
        before = prompt.text_content()
        cell.locator(".cm-content").click()
        self.page.keyboard.press("Control+Enter")
        done = lambda text: text != before and "*" not in text  # noqa: E731
        wait_until(lambda: done(prompt.text_content()), "the cell")
        self.page.evaluate("settled()")

    def errors(self) -> list[str]:
        """Return what the outputs say on standard error, and their errors."""
        kinds = ("error", "stderr")
        types = [f"[data-mime-type='application/vnd.jupyter.{kind}']" for kind in kinds]
        texts = self.root.locator(", ".join([*types, ".srlib-error"])).all_text_contents()
        return [text.strip()[-300:] for text in texts]

    def contents(self) -> nbformat.NotebookNode:
        """Return the notebook as it would be saved now."""
        contents = self.page.evaluate("jupyterapp.shell.currentWidget.context.model.toJSON()")
        return nbformat.from_dict(contents)

    def faults(self) -> list[str]:
        """Return what is wrong after all cells have run."""
        faults = self.errors()
        code = [
            cell for cell in self.contents().cells if cell.cell_type == "code"
        ]  # some are folded
        not_run = [k for k, cell in enumerate(code) if not cell.execution_count]
        faults += [f"code cell {k} has not run" for k in not_run]
        pictures = self.root.locator(".jp-RenderedImage img")
        widths = pictures.evaluate_all("images => images.map(image => image.naturalWidth)")
        faults += [f"figure {k} is empty" for k, width in enumerate(widths) if not width]
        faults += ["there is no figure"] * (not widths)
        labels = self.root.locator(".widget-label:visible")
        cut = "all => all.filter(e => e.scrollWidth > e.clientWidth + 1).map(e => e.textContent)"
        return faults + [f"cut label: {text}" for text in labels.evaluate_all(cut)]

    def screenshot(self, path: Path) -> None:
        """Take the whole notebook, at a laptop's width."""
        path.parent.mkdir(parents=True, exist_ok=True)
        last = self.code_cells.last
        height, bottom = 0, 12_000
        for _ in range(6):  # what is out of sight has a guessed height
            if height == bottom:
                break
            height = bottom
            self.page.set_viewport_size({"width": WIDTH, "height": height})
            self.page.evaluate("frames_drawn()")
            self.page.wait_for_function(DRAWN)
            self.root.evaluate("e => e.querySelector('.jp-WindowedPanel-outer').scrollTop = 0")
            bottom = int(last.evaluate("e => e.getBoundingClientRect().bottom")) + 60
        self.page.screenshot(path=path, type="jpeg", quality=85)
        self.page.set_viewport_size({"width": WIDTH, "height": HEIGHT})

    def controls(self) -> list["Control"]:
        """Return the notebook's controls."""
        found = []
        for kind, (holder, _, _) in CONTROLS.items():
            holders = self.root.locator(f"{holder}:visible")
            found += [Control(self, kind, holders.nth(k)) for k in range(holders.count())]
        return found

    def move_everything(self) -> list[str]:
        """Move every control to both its ends and back, then all sliders to their end.

        Return what is wrong.
        """
        controls = self.controls()
        sliders = [control for control in controls if control.kind == "slider"]
        if not sliders:
            return ["there is no slider"]
        faults = [fault for control in controls for fault in control.faults()]
        errors = self.errors()
        for slider in sliders:
            if slider.picture:
                slider.press("End")
        return faults + [f"all at the end: {new}" for new in self.errors() if new not in errors]


class Control:
    """Something that changes a picture."""

    def __init__(self, owner: NotebookPage, kind: str, holder):
        _, operated, self._value = CONTROLS[kind]
        self.owner, self.kind, self.holder = owner, kind, holder
        self.handle = holder.locator(operated).first
        texts = holder.locator(".widget-label, .widget-label-basic").all_text_contents()
        self.label = "".join(texts).strip("\u200b ")
        box = holder.locator(BOX_WITH_PICTURE)
        self.picture = box.locator("img.widget-image").first if box.count() else None

    def value(self):
        return self.handle.evaluate(self._value)

    def press(self, key: str) -> bool:
        """Press a key on it; return whether there is a new picture."""
        self.handle.evaluate("e => e.focus({preventScroll: true})")
        self.picture.evaluate("expect")
        self.owner.page.keyboard.press(key)
        return self.picture.evaluate("arrived")

    def to(self, position) -> None:
        """Set a control that is no slider."""
        if self.kind == "dropdown":
            self.handle.select_option(index=position)
        elif self.kind == "buttons":
            self.holder.locator(".widget-toggle-button").nth(position).click()
        else:
            self.handle.set_checked(position)

    def positions(self) -> list:
        """Return the first and the last value of a control that is no slider."""
        if self.kind == "checkbox":
            return [False, True]
        parts = "option" if self.kind == "dropdown" else ".widget-toggle-button"
        return [0, self.holder.locator(parts).count() - 1]

    def faults(self) -> list[str]:
        """Move it to both ends and back; return what is wrong."""
        name = f"{self.kind} '{self.label}'"
        if self.picture is None:
            return [f"{name}: has no picture"] if self.kind == "slider" else []
        self.holder.scroll_into_view_if_needed()
        box = self.handle.bounding_box()
        self.start = box["x"] + box["width"] / 2
        moves = self._slider_moves() if self.kind == "slider" else self._other_moves(self.value())
        seen, faults, errors = {}, [], self.owner.errors()
        place = self.picture.evaluate("place")
        for where, move in moves:
            before = self.value()
            self.picture.evaluate("expect")
            move()
            if self.value() == before:
                continue
            arrived = self.picture.evaluate("arrived")
            if new := [error for error in self.owner.errors() if error not in errors]:
                return [*faults, f"{name} to the {where}: {new[0]}"]
            if not arrived:
                faults.append(f"{name} to the {where}: no new picture")
                continue
            seen[self.value()] = self.picture.evaluate("look")
            if self.label != "photo" and place != (now := self.picture.evaluate("place")):
                faults.append(f"{name} to the {where}: the layout jumps, {place} to {now}")
        if len(seen) < 2:
            faults.append(f"{name}: cannot be moved")
        if len(set(seen.values())) < len(seen):
            faults.append(f"{name}: two of {list(seen)} have the same picture")
        return faults

    def _slider_moves(self):
        press = self.owner.page.keyboard.press
        ends = ["End", "Home"]
        if self.value() == self.handle.get_attribute("aria-valuemax"):
            ends.reverse()
        self.handle.focus()
        return [*((end, lambda end=end: press(end)) for end in ends), ("start", self._back)]

    def _back(self) -> None:
        """Click where the handle was in the beginning, or a few pixels beside."""
        track = self.handle.bounding_box()
        self.owner.page.mouse.click(self.start, track["y"] + track["height"] / 2)

    def _other_moves(self, start):
        ends = [end for end in self.positions() if end != start] + [start]
        return [(str(end), lambda end=end: self.to(end)) for end in ends]
