#include "runtime/weight_array.h"

#include <algorithm>
#include <cstring>
#include <stdexcept>
#include <utility>

namespace engine {

void WeightLock::lock() {
  ++locks_.waiting;
  const std::lock_guard<std::mutex> turn(locks_.turnstile);
  locks_.mutex.lock();
  --locks_.waiting;
}

void WeightLock::lock_shared() {
  ++locks_.waiting;
  const std::lock_guard<std::mutex> turn(locks_.turnstile);
  locks_.mutex.lock_shared();
  --locks_.waiting;
}

WeightLocks in_order(WeightLocks locks) {
  std::sort(locks.begin(), locks.end());
  locks.erase(std::unique(locks.begin(), locks.end()), locks.end());
  return locks;
}

Hold::Hold(const WeightLocks& locks, bool writes) : locks_(locks), writes_(writes) {
  for (const auto& lock : locks_) writes_ ? lock->lock() : lock->lock_shared();
  if (writes_) begin_write();
}

Hold::~Hold() {
  if (writes_) end_write();
  for (const auto& lock : locks_) writes_ ? lock->unlock() : lock->unlock_shared();
}

namespace {

int64_t product(const std::vector<int64_t>& shape) {
  int64_t size = 1;
  for (const int64_t length : shape) size *= length;
  return size;
}

}  // namespace

WeightArray::WeightArray(std::vector<int64_t> shape, const float* values, std::shared_ptr<WeightLock> lock)
    : shape_(std::move(shape)), lock_(std::move(lock)), data_(product(shape_)) {
  if (values) std::copy_n(values, size(), data_.data());
}

int64_t WeightArray::size() const { return product(shape_); }

void WeightArray::read(float* values) const {
  if (stored_) return device_.load()->download(*stored_, data_.data(), values);
  std::copy_n(data_.data(), size(), values);
}

void WeightArray::write(const float* values) {
  if (stored_) return device_.load()->upload(*stored_, values, data_.data());
  std::copy_n(values, size(), data_.data());
}

float* WeightArray::begin_use(Device& device, const Variable& variable) {
  if (variable.shape != shape_) throw std::invalid_argument("a weight array has another shape than the variable");
  const WeightLocks locks{lock_};
  const Hold hold(locks, true);
  const bool fits = stored_ && device_ == &device && stored_->rows == variable.rows;
  if (!fits && users_ > 0) {
    throw std::invalid_argument(device_ == &device
                                    ? "a weight array is stored as a matrix for one program and as a row for another"
                                    : "a weight array lies in memory of " + device_.load()->name() +
                                          ", so a program for " + device.name() + " can't use it");
  }
  if (!fits) store(device, variable);
  ++users_;
  return data_.data();
}

void WeightArray::store(Device& device, const Variable& variable) {
  Arena data = device.allocate(device.memory_of(variable));
  if (stored_) {
    const Arena values(size());
    read(values.data());
    device.upload(variable, values.data(), data.data());
  } else {
    device.upload(variable, data_.data(), data.data());
  }
  data_ = std::move(data);
  device_ = &device;
  stored_ = Variable{variable.rows, variable.columns, variable.shape, {}, variable.trainable};
}

WeightUse::WeightUse(std::shared_ptr<WeightArray> array, Device& device, const Variable& variable)
    : array_(std::move(array)), data_(array_->begin_use(device, variable)) {}

WeightUse::~WeightUse() {
  if (array_) --array_->users_;
}

}  // namespace engine
