// What the plugin offers to the program that loads it (kernels/plugin.cpp), by these names.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "kernels/backend.hpp"

extern "C" {
void peri_cuda_create(const peri::JobOptions* options, peri::Result<std::unique_ptr<peri::Backend>>* backend);
// One line for the versions, one for each GPU; the error says why there is none.
void peri_cuda_describe(peri::Result<std::vector<std::string>>* lines);
}
