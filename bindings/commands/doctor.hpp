// What this machine has and what peri will use of it: `peri doctor`.
#pragma once

#include <string>

namespace peri::commands {

std::string doctor_report();

}  // namespace peri::commands
