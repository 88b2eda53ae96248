#include "plan/storage.h"

namespace engine {

void Storage::lock() {
  ++waiting_;
  const std::lock_guard<std::mutex> turn(turnstile_);
  mutex_.lock();
  --waiting_;
}

void Storage::lock_shared() {
  ++waiting_;
  const std::lock_guard<std::mutex> turn(turnstile_);
  mutex_.lock_shared();
  --waiting_;
}

Hold::Hold(const Storages& storages, bool writes) : storages_(storages), writes_(writes) {
  for (const auto& storage : storages_) writes_ ? storage->lock() : storage->lock_shared();
}

Hold::~Hold() {
  for (const auto& storage : storages_) writes_ ? storage->unlock() : storage->unlock_shared();
}

}  // namespace engine
