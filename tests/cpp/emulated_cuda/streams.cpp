// Streams, events and graphs. Work is a list of functions, which run when they are submitted or, if a test wants it,
// when the host waits for them.
#include <chrono>
#include <deque>
#include <functional>
#include <memory>
#include <set>
#include <utility>
#include <vector>

#include "emulated/calls.h"
#include "emulated/card.h"
#include "emulated/detector.h"
#include "emulated/memory.h"
#include "emulated/runtime.h"
#include "emulated/services.h"

using Work = std::function<void()>;

struct CUgraph_st {
  std::vector<Work> work;
};

struct CUgraphExec_st {
  std::vector<Work> work;
};

namespace emulated {
namespace {

struct Capture {
  cudaStream_t origin;
  cudaStreamCaptureMode mode;
  bool spoiled = false;
  std::vector<Work> work;
};

using Clock = std::chrono::steady_clock;

/// What an event stands for since it was last recorded.
struct Moment {
  bool over = false;
  Clock::time_point time;
};

}  // namespace
}  // namespace emulated

struct CUstream_st {
  const emulated::Services* services;  // first, where other libraries look for them
  bool blocks;                         // waits for the default stream, and this for it
  std::deque<Work> work;
  std::shared_ptr<emulated::Capture> capture;
};

struct CUevent_st {
  bool timed;
  cudaStream_t stream = nullptr;
  std::shared_ptr<emulated::Moment> moment;  // null if it was never recorded
  std::shared_ptr<emulated::Capture> capture;
};

namespace emulated {
namespace {

/// How another library does work on the card; see services.h.
const Services kServices = {
    [](cudaStream_t stream, Work work) { return call([&] { return submit(stream, std::move(work)); }); },
    [](const void* memory, size_t bytes) { return allocated(memory, bytes); },
    [](const std::function<void()>& access) {
      const OpenMemory open;
      access();
    },
    [](const void* memory, size_t bytes) { note_written(static_cast<const char*>(memory), bytes); },
};

struct Streams {
  bool late = false;
  CUstream_st standard{&kServices, true, {}, {}};
  std::set<cudaStream_t> streams;
  std::set<cudaEvent_t> events;
};

Streams& streams() {
  static Streams streams;
  return streams;
}

/// The default stream has three names, of which two are about who waits for it.
bool is_default(cudaStream_t stream) {
  return stream == nullptr || stream == cudaStreamLegacy || stream == cudaStreamPerThread;
}

bool exists(cudaStream_t stream) { return is_default(stream) || streams().streams.count(stream) == 1; }

bool exists(cudaEvent_t event) { return streams().events.count(event) == 1; }

CUstream_st& object(cudaStream_t stream) { return is_default(stream) ? streams().standard : *stream; }

void run_next(CUstream_st& stream) {
  const Work work = std::move(stream.work.front());
  stream.work.pop_front();
  work();
}

void finish(CUstream_st& stream) {
  while (!stream.work.empty()) run_next(stream);
}

/// Runs the work before the event.
void finish(cudaEvent_t event) {
  if (event->moment == nullptr || !exists(event->stream)) return;
  CUstream_st& stream = object(event->stream);
  while (!event->moment->over && !stream.work.empty()) run_next(stream);
}

/// A captured stream cannot be waited for; whoever tries spoils the capture.
bool spoils(CUstream_st& stream) {
  if (stream.capture == nullptr) return false;
  stream.capture->spoiled = true;
  return true;
}

}  // namespace

bool runs_late(cudaStream_t stream) {
  return streams().late && !is_default(stream) && exists(stream) && stream->capture == nullptr;
}

cudaError_t submit(cudaStream_t stream, Work work) {
  if (!exists(stream)) return cudaErrorInvalidResourceHandle;
  CUstream_st& to = object(stream);
  if (to.capture != nullptr) {
    if (to.capture->spoiled) return cudaErrorStreamCaptureInvalidated;
    to.capture->work.push_back(std::move(work));
    return cudaSuccess;
  }
  if (runs_late(stream)) {
    to.work.push_back(std::move(work));
    return cudaSuccess;
  }
  if (is_default(stream)) {
    for (cudaStream_t other : streams().streams) {
      if (!other->blocks) continue;
      if (spoils(*other)) return cudaErrorStreamCaptureUnsupported;
      finish(*other);
    }
  }
  finish(to);
  work();
  return cudaSuccess;
}

bool forbidden_by_capture() {
  bool forbidden = false;
  for (cudaStream_t stream : streams().streams) {
    if (stream->capture == nullptr || stream->capture->mode == cudaStreamCaptureModeRelaxed) continue;
    stream->capture->spoiled = true;
    forbidden = true;
  }
  return forbidden;
}

bool is_captured(cudaStream_t stream) { return exists(stream) && object(stream).capture != nullptr; }

void drain(cudaStream_t stream) { finish(object(stream)); }

void drain_all() {
  for (cudaStream_t stream : streams().streams) finish(*stream);
}

void run_late(bool late) {
  if (!late) drain_all();
  streams().late = late;
}

}  // namespace emulated

using emulated::call, emulated::exists, emulated::is_default, emulated::object, emulated::streams;

cudaError_t cudaDeviceSynchronize() {
  return call([] {
    if (emulated::forbidden_by_capture()) return cudaErrorStreamCaptureUnsupported;
    emulated::drain_all();
    return cudaSuccess;
  });
}

// ---- Streams

cudaError_t cudaStreamCreate(cudaStream_t* stream) { return cudaStreamCreateWithFlags(stream, cudaStreamDefault); }

cudaError_t cudaStreamCreateWithFlags(cudaStream_t* stream, unsigned int flags) {
  return call([&] {
    if (flags > cudaStreamNonBlocking) return cudaErrorInvalidValue;
    *stream = new CUstream_st{&emulated::kServices, flags != cudaStreamNonBlocking, {}, {}};
    streams().streams.insert(*stream);
    return cudaSuccess;
  });
}

cudaError_t cudaStreamDestroy(cudaStream_t stream) {
  return call([&] {
    if (is_default(stream) || !exists(stream)) return cudaErrorInvalidResourceHandle;
    emulated::finish(*stream);
    streams().streams.erase(stream);
    delete stream;
    return cudaSuccess;
  });
}

cudaError_t cudaStreamSynchronize(cudaStream_t stream) {
  return call([&] {
    if (!exists(stream)) return cudaErrorInvalidResourceHandle;
    if (emulated::spoils(object(stream))) return cudaErrorStreamCaptureUnsupported;
    if (is_default(stream)) emulated::drain_all();
    emulated::finish(object(stream));
    return cudaSuccess;
  });
}

cudaError_t cudaStreamQuery(cudaStream_t stream) {
  return call([&] {
    if (!exists(stream)) return cudaErrorInvalidResourceHandle;
    CUstream_st& asked = object(stream);
    if (emulated::spoils(asked)) return cudaErrorStreamCaptureUnsupported;
    if (asked.work.empty()) return cudaSuccess;
    emulated::run_next(asked);  // so that who asks again and again gets an answer
    return cudaErrorNotReady;
  });
}

cudaError_t cudaStreamWaitEvent(cudaStream_t stream, cudaEvent_t event, unsigned int) {
  return call([&] {
    if (!exists(stream) || !exists(event)) return cudaErrorInvalidResourceHandle;
    CUstream_st& waiting = object(stream);
    if (event->capture != nullptr) {  // the stream's work belongs to the captured graph from now on
      waiting.capture = event->capture;
      return cudaSuccess;
    }
    if (event->moment == nullptr) return cudaSuccess;
    CUevent_st now = *event;
    return emulated::submit(stream, [now]() mutable { emulated::finish(&now); });
  });
}

// ---- Events

cudaError_t cudaEventCreate(cudaEvent_t* event) { return cudaEventCreateWithFlags(event, cudaEventDefault); }

cudaError_t cudaEventCreateWithFlags(cudaEvent_t* event, unsigned int flags) {
  return call([&] {
    *event = new CUevent_st{(flags & cudaEventDisableTiming) == 0, nullptr, {}, {}};
    streams().events.insert(*event);
    return cudaSuccess;
  });
}

cudaError_t cudaEventDestroy(cudaEvent_t event) {
  return call([&] {
    if (!exists(event)) return cudaErrorInvalidResourceHandle;
    streams().events.erase(event);
    delete event;
    return cudaSuccess;
  });
}

cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t stream) {
  return call([&] {
    if (!exists(stream) || !exists(event)) return cudaErrorInvalidResourceHandle;
    event->stream = stream;
    event->capture = object(stream).capture;
    event->moment = nullptr;
    if (event->capture != nullptr) return cudaSuccess;
    const auto moment = std::make_shared<emulated::Moment>();
    event->moment = moment;
    return emulated::submit(stream, [moment] { *moment = {true, emulated::Clock::now()}; });
  });
}

cudaError_t cudaEventSynchronize(cudaEvent_t event) {
  return call([&] {
    if (!exists(event)) return cudaErrorInvalidResourceHandle;
    if (event->capture != nullptr) return cudaErrorStreamCaptureUnsupported;
    emulated::finish(event);
    return cudaSuccess;
  });
}

cudaError_t cudaEventQuery(cudaEvent_t event) {
  return call([&] {
    if (!exists(event)) return cudaErrorInvalidResourceHandle;
    if (event->capture != nullptr) return cudaErrorStreamCaptureUnsupported;
    if (event->moment == nullptr || event->moment->over) return cudaSuccess;
    emulated::run_next(object(event->stream));
    return cudaErrorNotReady;
  });
}

cudaError_t cudaEventElapsedTime(float* milliseconds, cudaEvent_t start, cudaEvent_t end) {
  return call([&] {
    if (!exists(start) || !exists(end) || !start->timed || !end->timed) return cudaErrorInvalidResourceHandle;
    if (start->moment == nullptr || end->moment == nullptr) return cudaErrorInvalidResourceHandle;
    if (!start->moment->over || !end->moment->over) return cudaErrorNotReady;
    *milliseconds = std::chrono::duration<float, std::milli>(end->moment->time - start->moment->time).count();
    return cudaSuccess;
  });
}

// ---- Graphs

cudaError_t cudaStreamBeginCapture(cudaStream_t stream, cudaStreamCaptureMode mode) {
  return call([&] {
    if (!exists(stream)) return cudaErrorInvalidResourceHandle;
    if (is_default(stream)) return cudaErrorStreamCaptureUnsupported;
    if (stream->capture != nullptr) return cudaErrorIllegalState;
    stream->capture = std::make_shared<emulated::Capture>(emulated::Capture{stream, mode, false, {}});
    return cudaSuccess;
  });
}

cudaError_t cudaStreamEndCapture(cudaStream_t stream, cudaGraph_t* graph) {
  return call([&] {
    *graph = nullptr;
    if (is_default(stream) || !exists(stream)) return cudaErrorInvalidResourceHandle;
    const auto capture = stream->capture;
    if (capture == nullptr || capture->origin != stream) return cudaErrorIllegalState;
    for (cudaStream_t other : streams().streams) {
      if (other->capture == capture) other->capture = nullptr;
    }
    for (cudaEvent_t event : streams().events) {
      if (event->capture == capture) event->capture = nullptr;
    }
    if (capture->spoiled) return cudaErrorStreamCaptureInvalidated;
    *graph = new CUgraph_st{capture->work};
    return cudaSuccess;
  });
}

cudaError_t cudaStreamIsCapturing(cudaStream_t stream, cudaStreamCaptureStatus* status) {
  return call([&] {
    if (!exists(stream)) return cudaErrorInvalidResourceHandle;
    const auto& capture = object(stream).capture;
    *status = capture == nullptr ? cudaStreamCaptureStatusNone
              : capture->spoiled ? cudaStreamCaptureStatusInvalidated
                                 : cudaStreamCaptureStatusActive;
    return cudaSuccess;
  });
}

/// Counts the nodes; there are no handles for single ones.
cudaError_t cudaGraphGetNodes(cudaGraph_t graph, cudaGraphNode_t* nodes, size_t* count) {
  return call([&] {
    if (nodes != nullptr) return cudaErrorNotSupported;
    *count = graph->work.size();
    return cudaSuccess;
  });
}

cudaError_t cudaGraphInstantiate(cudaGraphExec_t* executable, cudaGraph_t graph, unsigned long long) {
  return call([&] {
    if (graph == nullptr) return cudaErrorInvalidValue;
    *executable = new CUgraphExec_st{graph->work};
    return cudaSuccess;
  });
}

cudaError_t cudaGraphUpload(cudaGraphExec_t, cudaStream_t stream) {
  return call([&] { return exists(stream) ? cudaSuccess : cudaErrorInvalidResourceHandle; });
}

cudaError_t cudaGraphLaunch(cudaGraphExec_t executable, cudaStream_t stream) {
  return call([&] {
    if (executable == nullptr) return cudaErrorInvalidValue;
    return emulated::submit(stream, [work = executable->work] {
      for (const Work& node : work) node();
    });
  });
}

cudaError_t cudaGraphExecDestroy(cudaGraphExec_t executable) {
  return call([&] {
    delete executable;
    return cudaSuccess;
  });
}

cudaError_t cudaGraphDestroy(cudaGraph_t graph) {
  return call([&] {
    delete graph;
    return cudaSuccess;
  });
}
