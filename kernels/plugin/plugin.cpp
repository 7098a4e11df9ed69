#include "kernels/plugin/plugin.hpp"

#include <dlfcn.h>
#include <fmt/format.h>

#include <filesystem>

#include "kernels/plugin/plugin_entry.hpp"

namespace peri::kernels {
namespace {

struct Plugin {
  decltype(&peri_cuda_create) create = nullptr;
  decltype(&peri_cuda_count) count = nullptr;
  decltype(&peri_cuda_describe) describe = nullptr;
};

// Never unloaded: tensors and recordings are made of its code.
Result<Plugin> load() {
  std::error_code error;
  const std::filesystem::path folder = std::filesystem::read_symlink("/proc/self/exe", error).parent_path();
  constexpr const char* kName = "libperi_cuda.so";
  for (const std::filesystem::path& path : {folder / kName, folder.parent_path() / "lib" / kName}) {
    if (!std::filesystem::exists(path, error)) continue;
    void* library = dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);
    if (!library)
      return fail(Code::Unsupported, fmt::format("the CUDA backend cannot be loaded: {}", dlerror()), {},
                  "use --backend host");
    Plugin plugin;
    plugin.create = reinterpret_cast<decltype(plugin.create)>(dlsym(library, "peri_cuda_create"));
    plugin.count = reinterpret_cast<decltype(plugin.count)>(dlsym(library, "peri_cuda_count"));
    plugin.describe = reinterpret_cast<decltype(plugin.describe)>(dlsym(library, "peri_cuda_describe"));
    if (plugin.create && plugin.count && plugin.describe) return plugin;
    return fail(Code::Unsupported, fmt::format("{} is of another version", path.string()), {},
                "build and install the program and its plugin together");
  }
  return fail(Code::NotFound,
              fmt::format("no CUDA backend: no {} in {} or its ../lib", kName, folder.string()), {},
              "build it on a machine that has nvcc, or use --backend host");
}

const Result<Plugin>& plugin() {
  static const Result<Plugin> instance = load();
  return instance;
}

}  // namespace

Result<std::unique_ptr<Backend>> create_cuda_backend(const JobOptions& options) {
  if (!plugin()) return std::unexpected(plugin().error());
  Result<std::unique_ptr<Backend>> backend;
  plugin()->create(&options, &backend);
  return backend;
}

Result<int> count_gpus() {
  if (!plugin()) return std::unexpected(plugin().error());
  Result<int> count;
  plugin()->count(&count);
  return count;
}

Result<CudaReport> describe_cuda() {
  if (!plugin()) return std::unexpected(plugin().error());
  Result<CudaReport> report;
  plugin()->describe(&report);
  return report;
}

Result<std::unique_ptr<Backend>> create_backend(const std::string& backend, const JobOptions& options) {
  const bool cuda = backend == "cuda" || (backend == "auto" && count_gpus());
  return cuda ? create_cuda_backend(options) : create_host_backend(options);
}

}  // namespace peri::kernels
