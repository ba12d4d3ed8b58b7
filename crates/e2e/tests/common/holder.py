# Passes sockets on, and uses what was passed.
#
#   pass PATH ADDRESS...   binds UDP sockets to port 9100 of the addresses and
#                          gives them to whoever connects to PATH
#   take PATH              takes such sockets, and does what its input says:
#                          `send N ADDRESS PORT MARK`, `heard N`
import array
import errno
import socket
import sys


def say(*words):
    print(*words, flush=True)


def hand_over(path, addresses):
    sockets = []
    for address in addresses:
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        one = socket.socket(family, socket.SOCK_DGRAM)
        one.bind((address, 9100))
        sockets.append(one)
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as server:
        server.bind(path)
        server.listen(4)
        say("up")
        while True:
            client, _ = server.accept()
            numbers = array.array("i", [one.fileno() for one in sockets])
            client.sendmsg([b"x"], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, numbers)])


def take(path):
    client = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    client.connect(path)
    _, rights, _, _ = client.recvmsg(1, 1024)
    numbers = array.array("i")
    numbers.frombytes(rights[0][2])
    sockets = [socket.socket(fileno=number) for number in numbers]
    say("up")
    for line in sys.stdin:
        what, number, *rest = line.split()
        one = sockets[int(number)]
        try:
            if what == "send":
                address, port, mark = rest
                one.sendto(b"kleene-probe " + mark.encode() + b";", (address, int(port)))
                say("sent")
            else:
                one.setblocking(False)
                say("heard", one.recv(2048).decode())
        except BlockingIOError:
            say("nothing")
        except OSError as error:
            say(errno.errorcode.get(error.errno, error))


if sys.argv[1] == "pass":
    hand_over(sys.argv[2], sys.argv[3:])
else:
    take(sys.argv[2])
