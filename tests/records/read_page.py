"""A report read back: the tables, figures and texts of its page, by html.parser."""

from html.parser import HTMLParser

VOID = {"img", "input", "meta", "br", "link"}


class Page(HTMLParser):
    """The page.

    tables: by the id of the nearest heading or section before: lists of rows, each a mapping from heading to text, with
    the attributes of the row under None. figures: terms and their values. texts: of elements with an id or a class.
    """

    def __init__(self, text):
        super().__init__()
        self.tables, self.figures, self.elements = {}, {}, []
        self._open, self._place, self._headings, self._row, self._term = [], "", [], None, None
        self._attributes = {}
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        found = dict(attributes)
        if found.get("id"):
            self._place = found["id"]
        element = {"tag": tag, "text": "", **found}
        self.elements.append(element)
        if tag not in VOID:
            self._open.append(element)
        if tag == "thead":
            self._headings = []
        if tag == "tr":
            self._row, self._attributes = [], found

    def handle_endtag(self, tag):
        if tag in VOID or not self._open:
            return
        element = self._open.pop()
        assert element["tag"] == tag, f"<{element['tag']}> ends with </{tag}>"
        text = element["text"].strip() if tag == "textarea" else " ".join(element["text"].split())
        element["text"] = text
        if tag in ("td", "th") and any(each["tag"] == "thead" for each in self._open):
            self._headings.append(text)
        elif tag in ("td", "th") and self._row is not None:
            self._row.append(text)
        elif tag == "tr" and any(each["tag"] == "tbody" for each in self._open):
            row = dict(zip(self._headings, self._row, strict=True)) | {None: self._attributes}
            self.tables.setdefault(self._place, []).append(row)
        elif tag == "dt":
            self._term = text
        elif tag == "dd":
            self.figures[self._term] = text

    def handle_data(self, data):
        if self._open and self._open[-1]["tag"] in ("script", "style"):
            return
        for element in self._open:
            element["text"] += data

    def all(self, tag, name=None):
        """Every element of a tag and, if given, of a class."""
        return [e for e in self.elements if e["tag"] == tag and (name is None or name in e.get("class", "").split())]

    def one(self, tag, name=None):
        """The only such element."""
        (found,) = self.all(tag, name)
        return found
