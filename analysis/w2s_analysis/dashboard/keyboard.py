"""Choosers open by keyboard: panel-material-ui 0.16.6 opens them at a click of the mouse only."""

from panel.custom import JSComponent


class OpenByKey(JSComponent):
    """Placed once on a page; Enter, the space bar and the down arrow then open the chooser that has the focus."""

    _esm = """
function openChooser(event) {
  const [chooser] = event.composedPath()
  if (!chooser.matches?.(".MuiSelect-select[role=combobox]") || chooser.ariaExpanded === "true") return
  if (!["Enter", " ", "ArrowDown"].includes(event.key)) return
  event.preventDefault()
  // The space bar acts when it is let go, as on a button: else that would choose the first entry.
  if (event.type === (event.key === " " ? "keyup" : "keydown")) chooser.click()
}

export function render() {
  // The same listener is added once, however often this is called.
  document.addEventListener("keydown", openChooser)
  document.addEventListener("keyup", openChooser)
}
"""
