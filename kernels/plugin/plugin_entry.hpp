// What the plugin offers to the program that loads it (kernels/plugin/plugin.cpp), by these names.
#pragma once

#include <memory>

#include "kernels/plugin/plugin.hpp"

extern "C" {
void peri_cuda_create(const peri::kernels::JobOptions* options,
                      peri::Result<std::unique_ptr<peri::kernels::Backend>>* backend);
// How many GPUs there are; the error says why there is none.
void peri_cuda_count(peri::Result<int>* count);
void peri_cuda_describe(peri::Result<peri::kernels::CudaReport>* report);
}
