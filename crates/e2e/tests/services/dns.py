# Asks a name server for an IPv4 address, and prints what came in the answer:
#
#   PROTOCOL ADDRESS PORT NAME
#
# Who asks over UDP hears only the address that was asked.
import socket
import struct
import sys

protocol, address, port, name = sys.argv[1:]
labels = b"".join(bytes([len(label)]) + label.encode() for label in name.split("."))
query = struct.pack("!6H", 7, 0x100, 1, 0, 0, 0) + labels + b"\0" + struct.pack("!2H", 1, 1)
family = socket.AF_INET6 if ":" in address else socket.AF_INET
kind = {"udp": socket.SOCK_DGRAM, "tcp": socket.SOCK_STREAM}[protocol]
with socket.socket(family, kind) as one:
    one.settimeout(3)
    one.connect((address, int(port)))
    if protocol == "udp":
        one.send(query)
        heard = one.recv(2048)
    else:
        one.sendall(struct.pack("!H", len(query)) + query)
        stream = one.makefile("rb")
        heard = stream.read(*struct.unpack("!H", stream.read(2)))
assert heard[:2] == query[:2] and heard[6:8] == b"\0\1", heard
print(socket.inet_ntoa(heard[-4:]))
