#include "kernels/cuda/describe.hpp"

#include <cublasLt.h>
#include <dlfcn.h>
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <nvrtc.h>

#include <filesystem>

#include "core/bytes.hpp"
#include "core/env.hpp"
#include "kernels/cuda/nccl/nccl.hpp"
#include "kernels/cuda/nvrtc/cache.hpp"
#include "kernels/cuda/peers.hpp"
#include "kernels/cuda/symmetric/multicast.hpp"

namespace peri::kernels::cuda {
namespace {

std::string version_text(int version) {
  return fmt::format("{}.{}", version / 1000, version % 1000 / 10);
}

template <class Function>
std::string file_of(Function* function) {
  Dl_info where = {};
  return dladdr(reinterpret_cast<void*>(function), &where) && where.dli_fname ? where.dli_fname
                                                                              : "of unknown place";
}

const char* yes(bool is_so) {
  return is_so ? "yes" : "no";
}

bool has(CUdevice_attribute attribute, int gpu) {
  int value = 0;
  return driver().attribute && driver().attribute(&value, attribute, gpu) == CUDA_SUCCESS && value != 0;
}

std::string multicast_of(int gpu) {
  if (!has(CU_DEVICE_ATTRIBUTE_MULTICAST_SUPPORTED, gpu)) return "no";
  const Status allowed = check_multicast(gpu);
  return allowed ? "present, used where it is named" : "present, not used: " + allowed.error().message;
}

std::vector<CudaReport::Row> libraries() {
  const size_t lt = cublasLtGetVersion();
  int major = 0, minor = 0;
  nvrtcVersion(&major, &minor);
  const Result<NcclLibrary> nccl = find_nccl();
  return {{"cuBLASLt",
           fmt::format("{}.{}.{}, {}", lt / 10000, lt / 100 % 100, lt % 100, file_of(&cublasLtGetVersion))},
          {"NVRTC", fmt::format("{}.{}, {}", major, minor, file_of(&nvrtcVersion))},
          {"NCCL", nccl ? fmt::format("{}, {}", nccl->version, nccl->path) : nccl.error().message}};
}

// "NVLink to 1 2; PCIe to 3; no P2P to 4". CUDA does not name the link; atomics across it tell them apart.
std::string links_of(int gpu, int count) {
  std::vector<int> nvlink, pcie, none;
  for (int peer = 0; peer < count; ++peer) {
    if (peer == gpu) continue;
    int atomics = 0;
    if (!can_reach(gpu, peer))
      none.push_back(peer);
    else if (cudaDeviceGetP2PAttribute(&atomics, cudaDevP2PAttrNativeAtomicSupported, gpu, peer) ==
                 cudaSuccess &&
             atomics)
      nvlink.push_back(peer);
    else
      pcie.push_back(peer);
  }
  std::string text;
  auto add = [&](const char* how, const std::vector<int>& peers) {
    if (!peers.empty()) text += fmt::format("{}{} {}", text.empty() ? "" : "; ", how, fmt::join(peers, " "));
  };
  add("P2P over NVLink to", nvlink);
  add("P2P over PCIe to", pcie);
  add("no P2P to", none);
  return text;
}

std::string cache_text() {
  const auto cache = CodeCache::of_user();
  if (!cache) return "none: the environment names no home";
  const std::filesystem::path folder = cache->path("").parent_path();
  std::error_code error;
  int64_t files = 0, bytes = 0;
  for (auto at = std::filesystem::directory_iterator(folder, error);
       !error && at != std::filesystem::directory_iterator(); at.increment(error)) {
    ++files;
    if (const auto size = at->file_size(error); !error) bytes += static_cast<int64_t>(size);
  }
  return fmt::format("{}, {} files, {}", folder.string(), files, describe_bytes(Bytes(bytes)));
}

// The first two of `ranks` ranks whose GPUs cannot reach each other; {-1, -1} if there are none.
std::pair<int, int> apart(int ranks, int count) {
  for (int a = 0; a < std::min(ranks, count); ++a)
    for (int b = a + 1; b < std::min(ranks, count); ++b)
      if (!environment().p2p || !can_share(a) || !can_share(b) || !can_reach(a, b)) return {a, b};
  return {-1, -1};
}

std::string path_of(int ranks, int count, bool nccl) {
  if (ranks == 1) return "GPU 0; nobody to meet";
  const bool shared = ranks > count;
  std::string who = shared && count == 1 ? "all ranks share GPU 0"
                    : shared             ? fmt::format("ranks share GPUs 0 to {} in turn", count - 1)
                                         : fmt::format("GPUs 0 to {}", ranks - 1);
  if (const auto [a, b] = apart(ranks, count); a >= 0) {
    const std::string why =
        environment().p2p ? fmt::format("GPU {} cannot reach GPU {}", a, b) : "no P2P by PERI_P2P=0";
    if (nccl && !shared) return fmt::format("{}: NCCL ({})", who, why);
    return fmt::format("{}: no collectives ({}, and {})", who, why,
                       nccl ? "NCCL wants a GPU for every rank" : "there is no NCCL");
  }
  std::string how = fmt::format("{}: symmetric memory{}", who, count > 1 ? " over P2P" : "");
  if (shared) return how + "; no NCCL, which wants a GPU for every rank";
  return how + (nccl ? "; NCCL where it is named" : "; no NCCL");
}

}  // namespace

Result<CudaReport> describe() {
  const int count = PERI_TRY(device_count());
  keep_nccl_off_multicast();
  int runtime = 0, driver_version = 0;
  cudaRuntimeGetVersion(&runtime);
  cudaDriverGetVersion(&driver_version);
  CudaReport report;
  report.libraries = libraries();
  report.machine = {{"cuda", fmt::format("runtime {}, driver's CUDA {}", version_text(runtime),
                                         version_text(driver_version))}};
  for (int i = 0; i < count; ++i) {
    cudaDeviceProp properties;
    PERI_TRY(check(cudaGetDeviceProperties(&properties, i), "the GPU's properties"));
    report.machine.emplace_back(
        fmt::format("GPU {}", i),
        fmt::format("{}, {:.0f} GiB, {} multiprocessors, sm_{}{}, L2 {} MiB", properties.name,
                    static_cast<double>(properties.totalGlobalMem) / (1 << 30),
                    properties.multiProcessorCount, properties.major, properties.minor,
                    properties.l2CacheSize >> 20));
    report.machine.emplace_back(
        "", fmt::format("fd handles {}, fabric handles {}, multicast {}",
                        yes(has(CU_DEVICE_ATTRIBUTE_HANDLE_TYPE_POSIX_FILE_DESCRIPTOR_SUPPORTED, i)),
                        yes(has(CU_DEVICE_ATTRIBUTE_HANDLE_TYPE_FABRIC_SUPPORTED, i)), multicast_of(i)));
    if (count > 1) report.machine.emplace_back("", links_of(i, count));
  }
  report.machine.emplace_back("kernel cache", cache_text());
  const bool nccl = find_nccl().has_value();
  for (int ranks : {1, 2, 4, 8})
    report.paths.emplace_back(fmt::format("N = {}", ranks), path_of(ranks, count, nccl));
  return report;
}

}  // namespace peri::kernels::cuda
