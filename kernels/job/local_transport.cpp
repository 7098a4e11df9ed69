// Sockets between the processes of one machine (transport.hpp).

#include <fcntl.h>
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <deque>
#include <map>
#include <thread>

#include "kernels/job/transport.hpp"

namespace peri::kernels::job {
namespace {

using Clock = std::chrono::steady_clock;
using std::chrono::milliseconds;

constexpr size_t kPacketBytes = 32 << 10;  // a fraction of the default socket buffer, so that several fit
constexpr uint32_t kMagic = 0x49524550;    // "PERI"

// The first packet on a connection, from the side that connects.
struct Hello {
  uint32_t magic = kMagic;
  int32_t rank = 0;
  int32_t world_size = 0;
};

struct PacketHeader {
  MessageKey key;
  uint64_t what_bytes;   // the message's text begins with `what`
  uint64_t total_bytes;  // of the whole message, what and text
};

struct Address {
  sockaddr_un name{};
  socklen_t length = 0;
};
Result<Address> address_of(const std::string& job, int rank) {
  std::string text = fmt::format("peri.{}.{}", job, rank);
  Address address;
  address.name.sun_family = AF_UNIX;
  if (text.size() + 1 > sizeof(address.name.sun_path))
    return fail(Code::InvalidArgument,
                fmt::format("the job's name has {} bytes: at most 80 fit", job.size()));
  std::memcpy(address.name.sun_path + 1, text.data(), text.size());  // a leading zero: the abstract namespace
  address.length = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + 1 + text.size());
  return address;
}

Result<ucred> credentials(const os::Fd& socket) {
  ucred peer{};
  socklen_t length = sizeof(peer);
  if (getsockopt(socket.get(), SOL_SOCKET, SO_PEERCRED, &peer, &length) != 0)
    return os::failure(Code::IoError, "SO_PEERCRED");
  return peer;
}

os::Fd open_socket() {
  return os::Fd(::socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
}

class LocalTransport final : public Transport {
 public:
  explicit LocalTransport(const JobOptions& options)
      : options_(options), peers_(static_cast<size_t>(options.world_size)) {}
  // The first call on a transport: meets all ranks of the job.
  Status connect();

  void post(int peer, const MessageKey& key, const std::string& what, const std::string& text,
            const os::Fd* file) override;
  bool sent(int peer) const override { return peer_at(peer).outgoing.empty(); }
  std::optional<Message> take(int peer, const MessageKey& key) override;
  void progress(milliseconds at_most) override;
  bool gone(int peer) const override { return peer_at(peer).gone; }
  bool passes_files(int) const override { return true; }
  void begin_generation(uint64_t generation) override;
  std::vector<pollfd> signs_of_end(int peer) const override;

 private:
  struct Outgoing {
    std::string packet;
    os::Fd file;
  };
  struct Peer {
    os::Fd socket;
    os::Fd process;  // a socket that a child of a dead rank has inherited stays open; the process does not
    bool gone = false;
    std::deque<Outgoing> outgoing;
    std::map<MessageKey, Message> partial, complete;
  };
  const Peer& peer_at(int rank) const { return peers_[static_cast<size_t>(rank)]; }
  Peer& peer_at(int rank) { return peers_[static_cast<size_t>(rank)]; }
  std::vector<int> missing() const;
  Result<os::Fd> listen_here() const;
  Status connect_to(int rank);
  Status accept_all(const os::Fd& listener);
  Status greet_accepted();
  Status adopt(os::Fd socket, int rank);
  void send_some(Peer& peer);
  void receive_some(Peer& peer);

  JobOptions options_;
  uint64_t generation_ = 0;
  std::vector<Peer> peers_;       // by rank; this rank's own is empty
  std::vector<os::Fd> accepted_;  // connections whose first packet has not come yet
};

std::vector<int> LocalTransport::missing() const {
  std::vector<int> ranks;
  for (int rank = 0; rank < options_.world_size; ++rank)
    if (rank != options_.rank && !peer_at(rank).socket.valid()) ranks.push_back(rank);
  return ranks;
}

Result<os::Fd> LocalTransport::listen_here() const {
  os::Fd listener = open_socket();
  if (!listener.valid()) return os::failure(Code::IoError, "socket");
  Address own = PERI_TRY(address_of(options_.job, options_.rank));
  if (bind(listener.get(), reinterpret_cast<sockaddr*>(&own.name), own.length) != 0)
    return os::failure(Code::IoError,
                       fmt::format("rank {} of job {} cannot take its address", options_.rank, options_.job));
  if (listen(listener.get(), SOMAXCONN) != 0) return os::failure(Code::IoError, "listen");
  return listener;
}

// Abstract names have no permissions: another user can connect to one, or take one first. The credentials
// tell.
Status LocalTransport::adopt(os::Fd socket, int rank) {
  const ucred owner = PERI_TRY(credentials(socket));
  if (owner.uid != geteuid())
    return fail(Code::IoError,
                fmt::format("rank {} of job {} belongs to user {}", rank, options_.job, owner.uid));
  Peer& peer = peer_at(rank);
  peer.socket = std::move(socket);
  if (owner.pid > 0 && owner.pid != getpid())
    peer.process = os::Fd(static_cast<int>(syscall(SYS_pidfd_open, owner.pid, 0)));
  return {};
}

// Does nothing if the rank is not there yet, or busy: the caller tries again.
Status LocalTransport::connect_to(int rank) {
  os::Fd socket = open_socket();
  if (!socket.valid()) return os::failure(Code::IoError, "socket");
  Address other = PERI_TRY(address_of(options_.job, rank));
  if (::connect(socket.get(), reinterpret_cast<sockaddr*>(&other.name), other.length) != 0) {
    if (errno == ECONNREFUSED || errno == EAGAIN || errno == EINTR) return {};
    return os::failure(Code::IoError, fmt::format("connecting to rank {}", rank));
  }
  const Hello hello{.rank = options_.rank, .world_size = options_.world_size};
  if (send(socket.get(), &hello, sizeof(hello), MSG_NOSIGNAL) != sizeof(hello)) return {};
  return adopt(std::move(socket), rank);
}

Status LocalTransport::accept_all(const os::Fd& listener) {
  for (;;) {
    os::Fd socket(accept4(listener.get(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
    if (!socket.valid()) return {};
    const ucred owner = PERI_TRY(credentials(socket));
    if (owner.uid == geteuid()) accepted_.push_back(std::move(socket));
  }
}

Status LocalTransport::greet_accepted() {
  for (os::Fd& socket : accepted_) {
    Hello hello;
    const ssize_t got = recv(socket.get(), &hello, sizeof(hello), 0);
    if (got < 0 && (errno == EAGAIN || errno == EINTR)) continue;
    os::Fd accepted = std::move(socket);
    if (got != sizeof(hello) || hello.magic != kMagic) continue;  // not one of us
    if (hello.world_size != options_.world_size)
      return fail(Code::RankMismatch,
                  fmt::format("rank {} was started for {} ranks, rank {} for {}", hello.rank,
                              hello.world_size, options_.rank, options_.world_size));
    if (hello.rank <= options_.rank || hello.rank >= options_.world_size ||
        peer_at(hello.rank).socket.valid())
      return fail(Code::RankMismatch, fmt::format("a second process claims to be rank {}", hello.rank));
    PERI_TRY(adopt(std::move(accepted), hello.rank));
  }
  std::erase_if(accepted_, [](const os::Fd& socket) { return !socket.valid(); });
  return {};
}

Status LocalTransport::connect() {
  const auto deadline = Clock::now() + std::chrono::duration<double>(options_.timeout_s);
  const os::Fd listener = PERI_TRY(listen_here());
  for (;;) {
    for (int rank = 0; rank < options_.rank; ++rank)
      if (!peer_at(rank).socket.valid()) PERI_TRY(connect_to(rank));
    PERI_TRY(accept_all(listener));
    PERI_TRY(greet_accepted());
    const std::vector<int> absent = missing();
    if (absent.empty()) break;
    if (Clock::now() >= deadline)
      return fail(Code::Timeout,
                  fmt::format("joining the job: no sign of rank{} {} for {} s", absent.size() > 1 ? "s" : "",
                              fmt::join(absent, ", "), options_.timeout_s));
    pollfd wanted{listener.get(), POLLIN, 0};
    poll(&wanted, 1, 1);  // connects are retried every millisecond
  }
  accepted_.clear();
  return {};
}

std::vector<pollfd> LocalTransport::signs_of_end(int peer) const {
  std::vector<pollfd> signs{{peer_at(peer).socket.get(), POLLRDHUP, 0}};
  if (peer_at(peer).process.valid()) signs.push_back({peer_at(peer).process.get(), POLLIN, 0});
  return signs;
}

void LocalTransport::begin_generation(uint64_t generation) {
  generation_ = generation;
  auto is_old = [&](const auto& entry) { return entry.first.generation < generation; };
  for (Peer& peer : peers_) {
    peer.outgoing.clear();  // packets are whole: what is not sent is not missed
    std::erase_if(peer.partial, is_old);
    std::erase_if(peer.complete, is_old);
  }
}

void LocalTransport::post(int peer, const MessageKey& key, const std::string& what, const std::string& text,
                          const os::Fd* file) {
  std::string body = what + text;
  PacketHeader header{key, what.size(), body.size()};
  size_t at = 0;
  do {
    Outgoing out;
    out.packet.assign(reinterpret_cast<const char*>(&header), sizeof(header));
    out.packet.append(body, at, kPacketBytes);
    if (at == 0 && file) out.file = os::Fd(fcntl(file->get(), F_DUPFD_CLOEXEC, 0));
    peer_at(peer).outgoing.push_back(std::move(out));
    at += kPacketBytes;
  } while (at < body.size());
}

std::optional<Message> LocalTransport::take(int peer, const MessageKey& key) {
  auto node = peer_at(peer).complete.extract(key);
  if (node.empty()) return std::nullopt;
  return std::move(node.mapped());
}

void LocalTransport::send_some(Peer& peer) {
  while (!peer.outgoing.empty()) {
    Outgoing& out = peer.outgoing.front();
    iovec data{out.packet.data(), out.packet.size()};
    alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int))] = {};
    msghdr message{};
    message.msg_iov = &data;
    message.msg_iovlen = 1;
    if (out.file.valid()) {
      message.msg_control = control;
      message.msg_controllen = sizeof(control);
      cmsghdr* rights = CMSG_FIRSTHDR(&message);
      rights->cmsg_level = SOL_SOCKET;
      rights->cmsg_type = SCM_RIGHTS;
      rights->cmsg_len = CMSG_LEN(sizeof(int));
      int fd = out.file.get();
      std::memcpy(CMSG_DATA(rights), &fd, sizeof(int));
    }
    if (sendmsg(peer.socket.get(), &message, MSG_NOSIGNAL) < 0) {
      if (errno == EINTR) continue;
      if (errno != EAGAIN && errno != EWOULDBLOCK)
        peer.outgoing.clear();  // nobody will read it; receiving notices
      return;
    }
    peer.outgoing.pop_front();
  }
}

void LocalTransport::receive_some(Peer& peer) {
  std::string packet(sizeof(PacketHeader) + kPacketBytes, '\0');
  for (;;) {
    iovec data{packet.data(), packet.size()};
    alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int))] = {};
    msghdr message{};
    message.msg_iov = &data;
    message.msg_iovlen = 1;
    message.msg_control = control;
    message.msg_controllen = sizeof(control);
    ssize_t got = recvmsg(peer.socket.get(), &message, MSG_CMSG_CLOEXEC);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) return;
    if (got < static_cast<ssize_t>(sizeof(PacketHeader))) {  // 0 or an error: the other end is closed
      peer.gone = true;
      return;
    }
    PacketHeader header;
    std::memcpy(&header, packet.data(), sizeof(header));
    Message& partial = peer.partial[header.key];
    for (cmsghdr* c = CMSG_FIRSTHDR(&message); c; c = CMSG_NXTHDR(&message, c)) {
      int fd = -1;
      if (c->cmsg_type == SCM_RIGHTS) std::memcpy(&fd, CMSG_DATA(c), sizeof(int));
      partial.file = os::Fd(fd);
    }
    if (header.key.generation < generation_) {  // late: with the file, if it brought one
      peer.partial.erase(header.key);
      continue;
    }
    partial.text.append(packet, sizeof(header), static_cast<size_t>(got) - sizeof(header));
    if (partial.text.size() < header.total_bytes) continue;
    partial.what = partial.text.substr(0, header.what_bytes);
    partial.text.erase(0, header.what_bytes);
    peer.complete[header.key] = std::move(partial);
    peer.partial.erase(header.key);
  }
}

void LocalTransport::progress(milliseconds at_most) {
  std::vector<pollfd> polled;
  std::vector<Peer*> owners;
  for (Peer& peer : peers_) {
    if (!peer.socket.valid() || peer.gone) continue;
    send_some(peer);
    short events = POLLIN;
    if (!peer.outgoing.empty()) events |= POLLOUT;
    polled.push_back({peer.socket.get(), events, 0});
    owners.push_back(&peer);
  }
  if (polled.empty()) {
    std::this_thread::sleep_for(at_most);
    return;
  }
  if (poll(polled.data(), polled.size(), static_cast<int>(at_most.count())) <= 0) return;
  for (size_t i = 0; i < polled.size(); ++i) {
    if (polled[i].revents & POLLOUT) send_some(*owners[i]);
    if (polled[i].revents & (POLLIN | POLLHUP | POLLERR)) receive_some(*owners[i]);
  }
}

}  // namespace

Result<std::unique_ptr<Transport>> connect_local(const JobOptions& options) {
  auto transport = std::make_unique<LocalTransport>(options);
  PERI_TRY(transport->connect());
  return transport;
}

}  // namespace peri::kernels::job
