// NVRTC's options and the two caches of its results.
#include "kernels/cuda/nvrtc/nvrtc.hpp"

#include <nvrtc.h>

#include <map>
#include <mutex>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include "kernels/cuda/memory/device.hpp"
#include "kernels/cuda/nvrtc/cache.hpp"
#include "kernels/cuda/nvrtc/source.hpp"

namespace peri::kernels::cuda {
namespace {

// No contraction and no fast math: results are those of core/types/scalar.hpp on the host. The suppressed
// warnings: gnu::always_inline, which NVRTC does not know; functions of headers that a kernel does not use.
constexpr const char* kOptions[] = {"-std=c++20", "-fmad=false", "-default-device",
                                    "-diag-suppress=1097,177"};

Status status(nvrtcResult result, const char* what) {
  if (result == NVRTC_SUCCESS) return {};
  return fail(Code::Unsupported, fmt::format("NVRTC cannot {}: {}", what, nvrtcGetErrorString(result)));
}

struct Program {
  nvrtcProgram handle = nullptr;
  ~Program() { nvrtcDestroyProgram(&handle); }
};

// What the machine code depends on besides the text.
std::string key_of(const std::string& text, const std::string& architecture) {
  static const uint64_t headers_hash = [] {
    uint64_t hash = 0;
    for (const Header& header : headers()) hash = content_hash(header.text, content_hash(header.name, hash));
    for (const char* option : kOptions) hash = content_hash(option, hash);
    return hash;
  }();
  int major = 0, minor = 0;
  nvrtcVersion(&major, &minor);
  return fmt::format("// NVRTC {}.{}, {}, headers {:016x}\n{}", major, minor, architecture, headers_hash,
                     text);
}

Result<std::string> architecture_of(int device) {
  int major = 0, minor = 0;
  PERI_TRY(cuda::check(cudaDeviceGetAttribute(&major, cudaDevAttrComputeCapabilityMajor, device),
                       "reading the device's architecture"));
  PERI_TRY(cuda::check(cudaDeviceGetAttribute(&minor, cudaDevAttrComputeCapabilityMinor, device),
                       "reading the device's architecture"));
  return fmt::format("sm_{}{}", major, minor);
}

Result<std::shared_ptr<const Module>> build(const std::string& text, int device) {
  const std::string architecture = PERI_TRY(architecture_of(device)), key = key_of(text, architecture);
  static const std::optional<CodeCache> cache = CodeCache::of_user();
  if (cache)
    if (std::optional<std::string> code = cache->find(key)) return Module::load(*code);
  const std::string code = PERI_TRY(compile_text(text, architecture));
  if (cache) cache->keep(key, code);
  return Module::load(code);
}

}  // namespace

Result<std::string> compile_text(const std::string& text, const std::string& architecture) {
  std::vector<const char*> names, texts;
  for (const Header& header : headers()) {
    names.push_back(header.name);
    texts.push_back(header.text.data());  // ends with a zero byte
  }
  Program program;
  PERI_TRY(status(nvrtcCreateProgram(&program.handle, text.c_str(), "kernel.cu",
                                     static_cast<int>(names.size()), texts.data(), names.data()),
                  "create a program"));
  const std::string target = "-arch=" + architecture;
  std::vector<const char*> options(std::begin(kOptions), std::end(kOptions));
  options.push_back(target.c_str());
  const nvrtcResult compiled =
      nvrtcCompileProgram(program.handle, static_cast<int>(options.size()), options.data());
  if (compiled != NVRTC_SUCCESS) {
    size_t size = 0;
    nvrtcGetProgramLogSize(program.handle, &size);
    std::string log(size, '\0');
    nvrtcGetProgramLog(program.handle, log.data());
    return fail(Code::Unsupported, fmt::format("NVRTC cannot compile a kernel: {}\n{}\n{}",
                                               nvrtcGetErrorString(compiled), log.c_str(), text));
  }
  size_t size = 0;
  PERI_TRY(status(nvrtcGetCUBINSize(program.handle, &size), "give machine code"));
  std::string code(size, '\0');
  PERI_TRY(status(nvrtcGetCUBIN(program.handle, code.data()), "give machine code"));
  return code;
}

Result<std::shared_ptr<const Module>> Module::load(const std::string& code) {
  cudaLibrary_t library = nullptr;
  PERI_TRY(cuda::check(cudaLibraryLoadData(&library, code.data(), nullptr, nullptr, 0, nullptr, nullptr, 0),
                       "loading a kernel"));
  return std::shared_ptr<const Module>(new Module(library));
}

Module::~Module() {
  cudaLibraryUnload(library_);
}

Result<cudaKernel_t> Module::kernel(const char* name) const {
  cudaKernel_t kernel = nullptr;
  PERI_TRY(cuda::check(cudaLibraryGetKernel(&kernel, library_, name), "finding a kernel"));
  cudaFuncAttributes attributes;  // asking for them loads the code, which is not allowed during capture
  PERI_TRY(cuda::check(cudaFuncGetAttributes(&attributes, reinterpret_cast<const void*>(kernel)),
                       "loading a kernel"));
  return kernel;
}

Result<std::shared_ptr<const Module>> compile_module(const std::string& text) {
  // Weak: code lives as long as a kernel uses it.
  static std::mutex mutex;
  static std::map<std::pair<int, std::string>, std::weak_ptr<const Module>> modules;
  int device = 0;
  PERI_TRY(cuda::check(cudaGetDevice(&device), "naming the current device"));
  std::lock_guard lock(mutex);
  std::weak_ptr<const Module>& known = modules[{device, text}];
  if (std::shared_ptr<const Module> module = known.lock()) return module;
  std::shared_ptr<const Module> module = PERI_TRY(build(text, device));
  known = module;
  return module;
}

}  // namespace peri::kernels::cuda
