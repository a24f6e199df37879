"""TLS for clients, with certificates that the program under test makes."""

import functools
import socket
import ssl
import subprocess
from pathlib import Path

from process import bellbird_binary


class Certificates:
    """An authority with a certificate for a server on this machine, and for clients."""

    def __init__(self, directory: Path, *options: str):
        self.directory = directory
        self.make(*options)

    def make(self, *options: str) -> str:
        """Makes what is missing."""
        command = [bellbird_binary(), "cert", "init", f"--dir={self.directory}", *options]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout

    def renew(self, *options: str) -> None:
        """Another certificate for the server, with another key."""
        self.server.unlink()
        self.server_key.unlink()
        self.make(*options)

    @property
    def authority(self) -> Path:
        """What clients trust."""
        return self.directory / "ca.pem"

    @property
    def server(self) -> Path:
        """The server's certificate."""
        return self.directory / "server.pem"

    @property
    def server_key(self) -> Path:
        """Its key."""
        return self.directory / "server.key"

    def client(self, name: str) -> tuple[Path, Path]:
        """A client's certificate and key."""
        return self.directory / f"client-{name}.pem", self.directory / f"client-{name}.key"

    def revoke(self, name: str) -> Path:
        """A list of what is revoked, with the certificate of this client on it, by openssl."""
        folder = self.directory / "openssl"
        folder.mkdir()
        (folder / "index").write_text("")
        (folder / "number").write_text("01")
        (folder / "openssl.cnf").write_text(
            f"[ca]\ndefault_ca=ours\n[ours]\ndatabase={folder}/index\ncrlnumber={folder}/number\n"
            "default_md=sha256\ndefault_crl_days=7\ncrl_extensions=second\n"
            "[second]\nauthorityKeyIdentifier=keyid:always\n"
        )
        path = folder / "revoked.pem"
        for what in (["-revoke", str(self.client(name)[0])], ["-gencrl", "-out", str(path)]):
            command = ["openssl", "ca", "-config", str(folder / "openssl.cnf"), *what]
            command += ["-cert", str(self.authority), "-keyfile", str(self.directory / "ca.key")]
            subprocess.run(command, check=True, capture_output=True)
        return path

    @functools.cached_property
    def context(self) -> ssl.SSLContext:
        """For clients that trust the authority."""
        context = ssl.create_default_context(cafile=self.authority)
        context.sslsocket_class = Sealed
        return context

    def seal(self, stream: socket.socket, client: str | None = None) -> "Sealed":
        """A client's connection over this stream, with the certificate of this client if it has one."""
        context = self.context_of(client) if client else self.context
        return context.wrap_socket(stream, server_hostname=stream.getpeername()[0])

    def context_of(self, client: str) -> ssl.SSLContext:
        """For a client that shows its certificate."""
        context = ssl.create_default_context(cafile=self.authority)
        context.sslsocket_class = Sealed
        context.load_cert_chain(*self.client(client))
        return context


class Sealed(ssl.SSLSocket):
    """A connection whose end looks like that of any other."""

    def sendall(self, data: bytes, flags: int = 0) -> None:
        """Sends all."""
        try:
            super().sendall(data, flags)
        except (ssl.SSLEOFError, ssl.SSLZeroReturnError) as error:
            raise BrokenPipeError("the other side has closed the connection") from error
