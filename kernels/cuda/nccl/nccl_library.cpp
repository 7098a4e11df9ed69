// Where NCCL is looked for, and whether what is found will do.
#include "kernels/cuda/nccl/nccl_library.hpp"

#include <dlfcn.h>
#include <fmt/format.h>
#include <glob.h>

#include <vector>

#include "core/env.hpp"
#include "kernels/cuda/nccl/nccl.hpp"

namespace peri::kernels::cuda {
namespace {

constexpr const char* kName = "libnccl.so.2";
constexpr int kOldest = NCCL_VERSION(2, 18, 0);  // communicators that do not block, and their configuration

// Where Python's packages bring it.
constexpr const char* kPatterns[] = {"/usr/local/lib/python3*/*-packages/nvidia/nccl/lib/libnccl.so.2",
                                     "/usr/lib/python3*/*-packages/nvidia/nccl/lib/libnccl.so.2",
                                     "/opt/*/lib/python3*/*-packages/nvidia/nccl/lib/libnccl.so.2"};

std::vector<std::string> candidates() {
  const Environment& env = environment();
  if (env.nccl) return {*env.nccl};
  std::vector<std::string> paths = {
      kName};  // LD_LIBRARY_PATH, the plugin's own RUNPATH, the system's folders
  auto add = [&](const std::string& pattern) {
    glob_t found = {};
    if (glob(pattern.c_str(), 0, nullptr, &found) == 0)
      for (size_t i = 0; i < found.gl_pathc; ++i) paths.emplace_back(found.gl_pathv[i]);
    globfree(&found);
  };
  add("/usr/local/cuda*/lib*/libnccl.so.2");
  if (env.home) add(*env.home + "/.local/lib/python3*/*-packages/nvidia/nccl/lib/libnccl.so.2");
  for (const char* pattern : kPatterns) add(pattern);
  return paths;
}

Result<NcclApi> load() {
  void* library = nullptr;
  std::string reason;  // of the first: the others are guesses
  NcclApi api;
  for (const std::string& path : candidates()) {
    library = dlopen(path.c_str(), RTLD_LAZY | RTLD_LOCAL);
    if (library) {
      api.path = path;
      break;
    }
    if (reason.empty()) reason = dlerror();
  }
  const char* hint = "install it, or name its file in PERI_NCCL";
  if (!library) return fail(Code::Unsupported, fmt::format("NCCL is not found: {}", reason), {}, hint);

  std::string missing;
  auto look_up = [&](const char* name, auto& function) {
    function = reinterpret_cast<std::remove_reference_t<decltype(function)>>(dlsym(library, name));
    if (!function && missing.empty()) missing = name;
  };
  look_up("ncclGetVersion", api.get_version);
  look_up("ncclGetUniqueId", api.get_unique_id);
  look_up("ncclCommInitRankConfig", api.init);
  look_up("ncclCommAbort", api.abort);
  look_up("ncclCommGetAsyncError", api.async_error);
  look_up("ncclGetErrorString", api.error_string);
  look_up("ncclGetLastError", api.last_error);
  look_up("ncclAllReduce", api.all_reduce);
  look_up("ncclAllGather", api.all_gather);
  look_up("ncclReduceScatter", api.reduce_scatter);
  look_up("ncclBroadcast", api.broadcast);
  look_up("ncclReduce", api.reduce);
  look_up("ncclSend", api.send);
  look_up("ncclRecv", api.recv);
  look_up("ncclGroupStart", api.group_start);
  look_up("ncclGroupEnd", api.group_end);
  Dl_info where = {};
  if (api.get_version && dladdr(reinterpret_cast<void*>(api.get_version), &where) && where.dli_fname)
    api.path = where.dli_fname;
  int version = 0;
  if (!missing.empty() || api.get_version(&version) != ncclSuccess || version < kOldest)
    return fail(Code::Unsupported,
                missing.empty() ? fmt::format("{} is too old: version code {}", api.path, version)
                                : fmt::format("{} has no {}", api.path, missing),
                {}, hint);
  api.version = fmt::format("{}.{}.{}", version / 10000, version / 100 % 100, version % 100);
  return api;
}

}  // namespace

const Result<NcclApi>& nccl_api() {
  static const Result<NcclApi> api = load();
  return api;
}

Result<NcclLibrary> find_nccl() {
  const Result<NcclApi>& api = nccl_api();
  if (!api) return std::unexpected(api.error());
  return NcclLibrary{api->version, api->path};
}

}  // namespace peri::kernels::cuda
