"""Image files in memory, and somebody who asks without a browser."""

import io

from featx.studio._app import Pages
from featx.studio._guard import Guard
from featx.studio._listing import Listing
from tests.tiny import COLOURS, picture


def encoded(image, form="PNG", **more):
    """Return an image as the bytes of a file."""
    file = io.BytesIO()
    image.save(file, form, **more)
    return file.getvalue()


def png(seed=0, colour=COLOURS["red"]):
    """Return a picture as the bytes of a PNG file."""
    return encoded(picture(seed, colour))


class Visitor:
    """Asks an app as a browser does that has been given the address."""

    PORT = 4321

    def __init__(self, cache, runs):
        self.guard = Guard(self.PORT)
        self.listing = Listing(cache, runs)
        self.pages = Pages(self.listing, self.guard)
        self.client = self.pages.app.test_client()
        self.client.set_cookie(f"featx-studio-{self.PORT}", self.guard.token, domain="127.0.0.1")

    def __call__(self, method, path, *, host=f"127.0.0.1:{PORT}", token=None, headers=(), **more):
        sent = {"Host": host, **({} if token is None else {"X-Featx-Token": token}), **dict(headers)}
        return self.client.open(path, method=method, base_url=f"http://127.0.0.1:{self.PORT}", headers=sent, **more)

    def get(self, path, **more):
        return self("GET", path, **more)

    def post(self, path, data=b"", **more):
        return self("POST", path, data=data, **{"token": self.guard.token, **more})

    @property
    def run(self):
        """Address of the first run."""
        return f"/runs/{self.listing.runs()[0].id}"
