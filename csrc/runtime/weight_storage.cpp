#include "runtime/weight_storage.h"

namespace engine {

void WeightStorage::lock() {
  ++locks_.waiting;
  const std::lock_guard<std::mutex> turn(locks_.turnstile);
  locks_.mutex.lock();
  --locks_.waiting;
}

void WeightStorage::lock_shared() {
  ++locks_.waiting;
  const std::lock_guard<std::mutex> turn(locks_.turnstile);
  locks_.mutex.lock_shared();
  --locks_.waiting;
}

Hold::Hold(const WeightStorages& storages, bool writes) : storages_(storages), writes_(writes) {
  for (const auto& storage : storages_) writes_ ? storage->lock() : storage->lock_shared();
  if (writes_) begin_write();
}

Hold::~Hold() {
  if (writes_) end_write();
  for (const auto& storage : storages_) writes_ ? storage->unlock() : storage->unlock_shared();
}

}  // namespace engine
