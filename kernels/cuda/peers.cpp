#include "kernels/cuda/peers.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <sstream>

#include "core/env.hpp"
#include "kernels/cuda/nccl/nccl.hpp"
#include "kernels/cuda/symmetric/multicast.hpp"

namespace peri::kernels::cuda {
namespace {

constexpr const char* kHint = "use nccl (send and recv have none; all_to_all does their work)";

std::string identity_of(const cudaDeviceProp& properties) {
  std::string text;
  for (char c : properties.uuid.bytes) text += fmt::format("{:02x}", static_cast<unsigned char>(c));
  return text;
}

// Its number in this process; -1 if it is not visible here.
int number_of(const std::string& gpu) {
  int count = 0;
  cudaGetDeviceCount(&count);
  cudaDeviceProp properties;
  for (int i = 0; i < count; ++i)
    if (cudaGetDeviceProperties(&properties, i) == cudaSuccess && identity_of(properties) == gpu) return i;
  return -1;
}

}  // namespace

bool can_reach(int a, int b) {
  int there = 0, back = 0;
  return cudaDeviceCanAccessPeer(&there, a, b) == cudaSuccess && there != 0 &&
         cudaDeviceCanAccessPeer(&back, b, a) == cudaSuccess && back != 0;
}

bool can_share(int gpu) {
  int maps = 0, files = 0;
  return driver().attribute &&
         driver().attribute(&maps, CU_DEVICE_ATTRIBUTE_VIRTUAL_MEMORY_MANAGEMENT_SUPPORTED, gpu) ==
             CUDA_SUCCESS &&
         driver().attribute(&files, CU_DEVICE_ATTRIBUTE_HANDLE_TYPE_POSIX_FILE_DESCRIPTOR_SUPPORTED, gpu) ==
             CUDA_SUCCESS &&
         maps != 0 && files != 0;
}

Result<Peers> Peers::meet(job::Control& control, const Device& device) {
  Peers peers;
  const int world = control.options().world_size;
  if (world == 1) return peers;  // nobody to reach
  cudaDeviceProp properties;
  PERI_TRY(check(cudaGetDeviceProperties(&properties, device.index()), "the GPU's properties"));
  const bool p2p = environment().p2p && can_share(device.index());
  const Status multicast = check_multicast(device.index());
  const Result<NcclLibrary> nccl = find_nccl();
  // A line each, the last one the rest.
  const std::string mine =
      fmt::format("{}\nGPU {} ({})\n{}\n{}\n{}", identity_of(properties), device.index(), properties.name,
                  p2p ? "reaches" : "alone", multicast ? "" : multicast.error().message,
                  nccl ? "" : nccl.error().message);
  const job::Operation meeting("telling the other ranks which GPU this one has", {});
  for (const std::string& text : PERI_TRY(control.exchange(world_group(world), mine, meeting))) {
    std::istringstream lines(text);
    Member member;
    std::string reaches;
    std::getline(lines, member.gpu);
    std::getline(lines, member.label);
    std::getline(lines, reaches);
    std::getline(lines, member.multicast);
    std::getline(lines, member.nccl, '\0');
    member.p2p = reaches == "reaches";
    peers.members_.push_back(std::move(member));
  }
  std::vector<RankLocation> ranks;
  for (const Member& member : peers.members_)
    ranks.push_back({.host = "", .device = member.gpu, .nccl = member.nccl.empty()});  // all of this host
  peers.topology_ = Topology(std::move(ranks), peers.find_apart());
  return peers;
}

// Once: CUDA takes long to answer. A GPU that this process cannot see is taken for one that can be reached;
// mapping its memory will tell.
std::vector<std::pair<int, int>> Peers::find_apart() const {
  std::vector<std::pair<int, int>> apart;
  std::vector<int> numbers;
  for (const Member& member : members_) numbers.push_back(number_of(member.gpu));
  for (size_t a = 0; a < members_.size(); ++a)
    for (size_t b = a + 1; b < members_.size(); ++b) {
      if (members_[a].gpu == members_[b].gpu) continue;
      const bool visible = numbers[a] >= 0 && numbers[b] >= 0;
      if (!members_[a].p2p || !members_[b].p2p || (visible && !can_reach(numbers[a], numbers[b])))
        apart.emplace_back(static_cast<int>(a), static_cast<int>(b));
    }
  return apart;
}

std::string Peers::label(int rank) const {
  return fmt::format("{} of rank {}", members_[static_cast<size_t>(rank)].label, rank);
}

Status Peers::check_memory(const Group& group, const job::Operation& operation) const {
  const auto [a, b] = topology_.apart(group);
  if (a < 0) return {};
  auto refused =
      operation.fail(Code::Unsupported, fmt::format("{} and {} cannot reach each other's memory{}", label(a),
                                                    label(b), environment().p2p ? "" : ", says PERI_P2P=0"));
  refused.error().hint = kHint;
  return refused;
}

Status Peers::check_nccl(const Group& group, const job::Operation& operation) const {
  auto refuse = [&](const std::string& what) -> Status {
    auto refused = operation.fail(Code::Unsupported, what);
    refused.error().hint = check_memory(group, operation)
                               ? "leave the algorithm to the policy, or name ll, one_shot or two_shot"
                               : "between GPUs without P2P there is no other way";
    return refused;
  };
  for (int a : group.ranks) {
    const Member& one = members_[static_cast<size_t>(a)];
    if (!one.nccl.empty()) return refuse(fmt::format("rank {}: {}", a, one.nccl));
  }
  if (const auto [a, b] = topology_.sharing_device(group); a >= 0)
    return refuse(fmt::format("NCCL wants a GPU for every rank, and ranks {} and {} share {}", a, b,
                              members_[static_cast<size_t>(a)].label));
  return {};
}

std::string Peers::multicast_refusal(const Group& group) const {
  if (group.size() == 1) return "a group of one has nobody to reach";
  for (int rank : group.ranks)
    if (const std::string& why = members_[static_cast<size_t>(rank)].multicast; !why.empty())
      return fmt::format("rank {}: {}", rank, why);
  if (const auto [a, b] = topology_.sharing_device(group); a >= 0)
    return fmt::format("it wants a GPU for every rank, and ranks {} and {} share {}", a, b,
                       members_[static_cast<size_t>(a)].label);
  return "";
}

}  // namespace peri::kernels::cuda
