#include "kernels/job/rendezvous.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <thread>

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

}  // namespace

Result<Mailbox> Mailbox::connect(const JobOptions& options) {
  Mailbox mailbox;
  mailbox.peers_.resize(static_cast<size_t>(options.world_size));
  auto deadline = Clock::now() + std::chrono::duration<double>(options.timeout_s);

  os::Fd listener = open_socket();
  if (!listener.valid()) return os::failure(Code::IoError, "socket");
  Address own = PERI_TRY(address_of(options.job, options.rank));
  if (bind(listener.get(), reinterpret_cast<sockaddr*>(&own.name), own.length) != 0)
    return os::failure(Code::IoError,
                       fmt::format("rank {} of job {} cannot take its address", options.rank, options.job));
  if (listen(listener.get(), SOMAXCONN) != 0) return os::failure(Code::IoError, "listen");

  // Abstract names have no permissions: another user can connect to one, or take one first. The credentials
  // tell.
  auto adopt = [&](os::Fd socket, int rank) -> Status {
    ucred peer = PERI_TRY(credentials(socket));
    if (peer.uid != geteuid())
      return fail(Code::IoError,
                  fmt::format("rank {} of job {} belongs to user {}", rank, options.job, peer.uid));
    mailbox.peers_[static_cast<size_t>(rank)].pid = peer.pid;
    mailbox.peers_[static_cast<size_t>(rank)].socket = std::move(socket);
    return {};
  };

  std::vector<os::Fd> unnamed;  // accepted, and their first packet has not come yet
  int missing = options.world_size - 1;
  while (missing > 0) {
    for (int rank = 0; rank < options.rank; ++rank) {
      if (mailbox.peers_[static_cast<size_t>(rank)].socket.valid()) continue;
      os::Fd socket = open_socket();
      if (!socket.valid()) return os::failure(Code::IoError, "socket");
      Address other = PERI_TRY(address_of(options.job, rank));
      if (::connect(socket.get(), reinterpret_cast<sockaddr*>(&other.name), other.length) != 0) {
        if (errno == ECONNREFUSED || errno == EAGAIN || errno == EINTR)
          continue;  // not there yet, or busy: again later
        return os::failure(Code::IoError, fmt::format("connecting to rank {}", rank));
      }
      Hello hello{.rank = options.rank, .world_size = options.world_size};
      if (send(socket.get(), &hello, sizeof(hello), MSG_NOSIGNAL) != sizeof(hello)) continue;
      PERI_TRY(adopt(std::move(socket), rank));
      --missing;
    }
    for (;;) {
      os::Fd socket(accept4(listener.get(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
      if (!socket.valid()) break;
      ucred peer = PERI_TRY(credentials(socket));
      if (peer.uid == geteuid()) unnamed.push_back(std::move(socket));
    }
    for (os::Fd& socket : unnamed) {
      Hello hello;
      ssize_t got = recv(socket.get(), &hello, sizeof(hello), 0);
      if (got < 0 && (errno == EAGAIN || errno == EINTR)) continue;
      os::Fd accepted = std::move(socket);
      if (got != sizeof(hello) || hello.magic != kMagic) continue;  // not one of us
      if (hello.world_size != options.world_size)
        return fail(Code::RankMismatch,
                    fmt::format("rank {} was started for {} ranks, rank {} for {}", hello.rank,
                                hello.world_size, options.rank, options.world_size));
      if (hello.rank <= options.rank || hello.rank >= options.world_size ||
          mailbox.peers_[static_cast<size_t>(hello.rank)].socket.valid())
        return fail(Code::RankMismatch, fmt::format("a second process claims to be rank {}", hello.rank));
      PERI_TRY(adopt(std::move(accepted), hello.rank));
      --missing;
    }
    std::erase_if(unnamed, [](const os::Fd& socket) { return !socket.valid(); });
    if (missing == 0) break;
    if (Clock::now() >= deadline) {
      std::vector<int> absent;
      for (int rank = 0; rank < options.world_size; ++rank)
        if (rank != options.rank && !mailbox.peers_[static_cast<size_t>(rank)].socket.valid())
          absent.push_back(rank);
      return fail(Code::Timeout,
                  fmt::format("joining the job: no sign of rank{} {} for {} s", absent.size() > 1 ? "s" : "",
                              fmt::join(absent, ", "), options.timeout_s));
    }
    pollfd wanted{listener.get(), POLLIN, 0};
    poll(&wanted, 1, 1);  // connects are retried every millisecond
  }
  return mailbox;
}

void Mailbox::post(int peer, MessageKey key, const std::string& what, const std::string& text,
                   const os::Fd* file) {
  std::string body = what + text;
  PacketHeader header{key, what.size(), body.size()};
  size_t at = 0;
  do {
    Outgoing out;
    out.packet.assign(reinterpret_cast<const char*>(&header), sizeof(header));
    out.packet.append(body, at, kPacketBytes);
    if (at == 0 && file) out.file = os::Fd(fcntl(file->get(), F_DUPFD_CLOEXEC, 0));
    peers_[static_cast<size_t>(peer)].outgoing.push_back(std::move(out));
    at += kPacketBytes;
  } while (at < body.size());
}

std::optional<Message> Mailbox::take(int peer, MessageKey key) {
  auto node = peers_[static_cast<size_t>(peer)].complete.extract(key);
  if (node.empty()) return std::nullopt;
  return std::move(node.mapped());
}

void Mailbox::send_some(Peer& peer) {
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

void Mailbox::receive_some(Peer& peer) {
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
    partial.text.append(packet, sizeof(header), static_cast<size_t>(got) - sizeof(header));
    if (partial.text.size() < header.total_bytes) continue;
    partial.what = partial.text.substr(0, header.what_bytes);
    partial.text.erase(0, header.what_bytes);
    peer.complete[header.key] = std::move(partial);
    peer.partial.erase(header.key);
  }
}

void Mailbox::progress(milliseconds at_most) {
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

}  // namespace peri::kernels::job
