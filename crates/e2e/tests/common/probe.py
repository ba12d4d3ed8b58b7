# What the tests of networks do with sockets, on the host, outside and in
# containers. Words on the command line say what; answers are lines.
#
#   serve  SOCKET...        answers each client with the address it came from,
#                           and tells them itself
#   ask    SOCKET...        asks such servers, each with `[FROM]` as its source
#   miss   SOCKET...        the same with less patience, where silence is expected
#   bind   SOCKET...        binds, and says how it went
#   sniff  LINK             says what marked frames pass on a link
#   send   HOW SOCKET...    sends marked datagrams from a source
#   echo   ADDRESS PORT     gives back what comes, over TCP and UDP
#   plain  HOW PORT         gives back what comes over UDP to the wildcards,
#                           without naming a source; HOW says what is different
#   heard  LENGTH SOCKET... asks such servers, all of a family from one socket,
#                           and says from which address each answer comes
#   steady ADDRESS PORT     talks with an echo until its input ends
#
# A SOCKET is `PROTOCOL/ADDRESS/PORT[/FROM]`.
import errno
import selectors
import socket
import sys
import threading

MARK = b"kleene-probe "
PATIENCE = 3


def family(address):
    return socket.AF_INET6 if ":" in address else socket.AF_INET


def kind(protocol):
    return {"tcp": socket.SOCK_STREAM, "udp": socket.SOCK_DGRAM}[protocol]


def say(*words):
    print(*words, flush=True)


def name(error):
    if isinstance(error, TimeoutError):
        return "ETIMEDOUT"
    return errno.errorcode.get(error.errno, str(error))


def fresh(protocol, address):
    one = socket.socket(family(address), kind(protocol))
    one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if one.family == socket.AF_INET6 and not address.startswith("::ffff:"):
        one.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
    one.settimeout(PATIENCE)
    return one


def parts(text):
    return (text.split("/") + [""])[:4]


def serve(texts):
    ready = selectors.DefaultSelector()
    for text in texts:
        protocol, address, port, _ = parts(text)
        one = fresh(protocol, address)
        one.bind((address, int(port)))
        if protocol == "tcp":
            one.listen(64)
        ready.register(one, selectors.EVENT_READ, protocol)
    say("up")
    while True:
        for key, _ in ready.select():
            try:
                if key.data == "tcp":
                    client, peer = key.fileobj.accept()
                    say("tcp from", peer[0])
                    client.sendall(peer[0].encode())
                    client.close()
                else:
                    _, peer = key.fileobj.recvfrom(2048)
                    say("udp from", peer[0])
                    key.fileobj.sendto(peer[0].encode(), peer)
            except OSError:
                pass


def answer(text, patience):
    protocol, address, port, source = parts(text)
    with fresh(protocol, address) as one:
        one.settimeout(patience)
        if source:
            one.bind((source, 0))
        one.connect((address, int(port)))
        if protocol == "udp":
            one.send(b"?")
        heard = one.recv(2048)
        return heard.decode() or "nothing"


def miss(texts):
    ask(texts, 0.7)


def ask(texts, patience=PATIENCE):
    # At once: most of the time is spent in waiting for who does not answer.
    said = {}

    def one(text):
        try:
            said[text] = answer(text, patience)
        except OSError as error:
            said[text] = name(error)

    asking = [threading.Thread(target=one, args=(text,)) for text in texts]
    for thread in asking:
        thread.start()
    for thread in asking:
        thread.join()
    for text in texts:
        say(said[text])


def bind(texts):
    for text in texts:
        protocol, address, port, _ = parts(text)
        try:
            with fresh(protocol, address) as one:
                one.bind((address, int(port)))
            say("bound")
        except OSError as error:
            say(name(error))


def sniff(texts):
    every = socket.ntohs(3)
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW, every) as one:
        one.bind((texts[0], 3))
        say("up")
        while True:
            frame = one.recv(65536)
            at = frame.find(MARK)
            if at >= 0:
                say(frame[at + len(MARK):].split(b";")[0].decode())


HOW = {
    "plain": [],
    "freebind": [(socket.IPPROTO_IP, 15)],
    "freebind6": [(socket.IPPROTO_IPV6, 78)],
    "transparent": [(socket.IPPROTO_IP, 19)],
    "transparent6": [(socket.IPPROTO_IPV6, 75)],
}


def send(words):
    how, texts = words[0], words[1:]
    for text in texts:
        protocol, address, port, source = parts(text)
        mark = f"{how} {source or 'any'};".encode()
        try:
            with fresh("udp", address) as one:
                for level, option in HOW[how]:
                    one.setsockopt(level, option, 1)
                if source:
                    one.bind((source, 0))
                one.sendto(MARK + mark, (address, int(port)))
            say("sent")
        except OSError as error:
            say(name(error))


def echo(words):
    address, port = words[0], int(words[1])
    stream, datagrams = fresh("tcp", address), fresh("udp", address)
    for one in (stream, datagrams):
        one.settimeout(None)
        one.bind((address, port))
    stream.listen(64)

    def back(client):
        with client:
            while heard := client.recv(65536):
                client.sendall(heard)

    def accept():
        while True:
            client, _ = stream.accept()
            threading.Thread(target=back, args=(client,), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    say("up")
    while True:
        heard, peer = datagrams.recvfrom(2048)
        datagrams.sendto(heard, peer)


# Options that `socket` has no names for.
IPV6_RECVPKTINFO, IPV6_PKTINFO, SOL_UDP, UDP_SEGMENT = 49, 50, 17, 103


def plain(words):
    how, port = words[0], int(words[1])
    if how == "v4":
        one = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        one.bind(("0.0.0.0", port))
    else:
        # Of both families: IPv4 comes from mapped addresses.
        one = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
        one.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        one.setsockopt(socket.IPPROTO_IPV6, IPV6_RECVPKTINFO, 1)
        one.bind(("::", port))
    say("up")
    while True:
        heard, told, _, peer = one.recvmsg(65536, 256)
        more = []
        if how == "segments":
            more = [(SOL_UDP, UDP_SEGMENT, (1000).to_bytes(2, sys.byteorder))]
        if how == "pktinfo":
            # The address that was asked, and whichever interface.
            more = [(level, kind, data[:16] + bytes(4)) for level, kind, data in told
                    if (level, kind) == (socket.IPPROTO_IPV6, IPV6_PKTINFO)]
        try:
            one.sendmsg([heard], more, 0, peer)
        except OSError as error:
            say(name(error))


def heard(words):
    length, texts = int(words[0]), words[1:]
    sockets = {}
    for text in texts:
        _, address, port, _ = parts(text)
        if family(address) not in sockets:
            sockets[family(address)] = socket.socket(family(address), socket.SOCK_DGRAM)
        one = sockets[family(address)]
        one.settimeout(PATIENCE)
        question = (text.encode() * length)[:length]
        try:
            one.sendto(question, (address, int(port)))
            answer, peers = b"", set()
            while len(answer) < length:
                part, peer = one.recvfrom(65536)
                answer += part
                peers.add(peer[0])
            say(*sorted(peers) if answer == question else ["damaged"])
        except OSError as error:
            say(name(error))


def steady(words):
    address, port = words[0], int(words[1])
    ends = threading.Event()
    result = {}

    def talk(protocol):
        good, lost, why = 0, 0, "fine"
        try:
            with fresh(protocol, address) as one:
                one.connect((address, port))
                while not ends.wait(0.001):
                    word = f"{good + lost:>12}".encode()
                    one.sendall(word)
                    try:
                        # What is lost in TCP comes again; late is lost, too.
                        heard = one.recv(12, socket.MSG_WAITALL)
                        ok = heard == word
                    except TimeoutError:
                        ok = False
                    good, lost = good + ok, lost + (not ok)
                    if good == 20:
                        say(protocol, "flows")
        except OSError as error:
            why = name(error)
        result[protocol] = f"{protocol} good {good} lost {lost} {why}"

    talking = [threading.Thread(target=talk, args=(one,)) for one in ("tcp", "udp")]
    for thread in talking:
        thread.start()
    sys.stdin.read()
    ends.set()
    for thread in talking:
        thread.join()
    say(result["tcp"])
    say(result["udp"])


globals()[sys.argv[1]](sys.argv[2:])
