// Models that no plan can be made for, refused before anything is computed from their sizes.
#pragma once
#include "plan/spec.h"

namespace engine {

/// Throws std::invalid_argument, which says what is wrong.
void check(const ModelSpec& model);

}  // namespace engine
