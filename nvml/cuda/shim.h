// The functions of libcuda.so.1 that this package calls, found by dlsym under
// the suffixes of their versions. Types are those of the driver API's
// documentation; handles are void *, results int. Nothing of NVIDIA's is
// included or linked.

#include <dlfcn.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

// X(name, symbol, parameters, arguments)
#define CUDA_FUNCTIONS(X)                                                                                            \
	X(init, "cuInit", (unsigned flags), (flags))                                                                 \
	X(driver_version, "cuDriverGetVersion", (int *v), (v))                                                       \
	X(device_count, "cuDeviceGetCount", (int *n), (n))                                                           \
	X(device_get, "cuDeviceGet", (int *device, int ordinal), (device, ordinal))                                  \
	X(device_name, "cuDeviceGetName", (char *name, int size, int device), (name, size, device))                  \
	X(device_uuid, "cuDeviceGetUuid_v2", (void *uuid, int device), (uuid, device))                               \
	X(device_attribute, "cuDeviceGetAttribute", (int *value, int which, int device), (value, which, device))     \
	X(context_retain, "cuDevicePrimaryCtxRetain", (void **context, int device), (context, device))               \
	X(context_release, "cuDevicePrimaryCtxRelease_v2", (int device), (device))                                   \
	X(context_reset, "cuDevicePrimaryCtxReset_v2", (int device), (device))                                       \
	X(context_set, "cuCtxSetCurrent", (void *context), (context))                                                \
	X(memory_info, "cuMemGetInfo_v2", (size_t *available, size_t *total), (available, total))                    \
	X(memory_alloc, "cuMemAlloc_v2", (uint64_t *address, size_t n), (address, n))                                \
	X(memory_free, "cuMemFree_v2", (uint64_t address), (address))                                                \
	X(host_alloc, "cuMemHostAlloc", (void **memory, size_t n, unsigned flags), (memory, n, flags))               \
	X(host_free, "cuMemFreeHost", (void *memory), (memory))                                                      \
	X(copy_in, "cuMemcpyHtoDAsync_v2", (uint64_t to, const void *from, size_t n, void *stream),                  \
	  (to, from, n, stream))                                                                                     \
	X(copy_out, "cuMemcpyDtoHAsync_v2", (void *to, uint64_t from, size_t n, void *stream), (to, from, n, stream)) \
	X(set_bytes, "cuMemsetD8Async", (uint64_t to, unsigned char value, size_t n, void *stream),                  \
	  (to, value, n, stream))                                                                                    \
	X(module_load, "cuModuleLoadDataEx",                                                                         \
	  (void **module, const void *image, unsigned n, int *options, void **values),                              \
	  (module, image, n, options, values))                                                                       \
	X(module_unload, "cuModuleUnload", (void *module), (module))                                                 \
	X(module_function, "cuModuleGetFunction", (void **function, void *module, const char *name),                 \
	  (function, module, name))                                                                                  \
	X(launch_kernel, "cuLaunchKernel",                                                                           \
	  (void *function, unsigned gx, unsigned gy, unsigned gz, unsigned bx, unsigned by, unsigned bz,             \
	   unsigned shared, void *stream, void **parameters, void **extra),                                          \
	  (function, gx, gy, gz, bx, by, bz, shared, stream, parameters, extra))                                     \
	X(stream_create, "cuStreamCreate", (void **stream, unsigned flags), (stream, flags))                         \
	X(stream_destroy, "cuStreamDestroy_v2", (void *stream), (stream))                                            \
	X(event_create, "cuEventCreate", (void **event, unsigned flags), (event, flags))                             \
	X(event_destroy, "cuEventDestroy_v2", (void *event), (event))                                                \
	X(event_record, "cuEventRecord", (void *event, void *stream), (event, stream))                               \
	X(event_query, "cuEventQuery", (void *event), (event))                                                       \
	X(event_elapsed, "cuEventElapsedTime", (float *ms, void *from, void *to), (ms, from, to))                    \
	X(error_name, "cuGetErrorName", (int code, const char **name), (code, name))

#define UNWRAPPED(...) __VA_ARGS__
#define AS_FIELD(name, symbol, parameters, arguments) int(*name) parameters;
#define AS_CALL(name, symbol, parameters, arguments)                                  \
	static inline int cuda_##name(const struct cuda *d, UNWRAPPED parameters)     \
	{                                                                             \
		return d->name arguments;                                             \
	}

struct cuda {
	CUDA_FUNCTIONS(AS_FIELD)
};

CUDA_FUNCTIONS(AS_CALL)

// cuda_open fills the table from a library. It returns NULL, or what is wrong:
// *missing is then the symbol that is not there, NULL if the library is not. The
// library stays open: a driver's threads live as long as the process.
static const char *cuda_open(struct cuda *d, const char *library, const char **missing)
{
	static const char *const symbols[] = {
#define AS_SYMBOL(name, symbol, parameters, arguments) symbol,
		CUDA_FUNCTIONS(AS_SYMBOL)
	};
	void **const fields = (void **)d;
	*missing = NULL;
	void *handle = dlopen(library, RTLD_NOW | RTLD_LOCAL);
	if (handle == NULL)
		return dlerror();
	for (size_t i = 0; i < sizeof symbols / sizeof *symbols; i++) {
		fields[i] = dlsym(handle, symbols[i]);
		if (fields[i] == NULL) {
			*missing = symbols[i];
			return "";
		}
	}
	return NULL;
}

enum { WAIT_STOPPED = -1, WAIT_LOST = -2, WAIT_LATE = -3, NOT_READY = 600 };

static int64_t cuda_now(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

// cuda_wait returns when an event has happened: with the driver's result, or
// earlier with one of the codes above: when *stop or *lost is set or after ns. It
// asks again and again, so that an event that never happens holds no thread.
static int cuda_wait(const struct cuda *d, void *event, const int *stop, const int *lost, int64_t ns)
{
	const struct timespec pause = {0, 20000};
	const int64_t until = cuda_now() + ns;
	for (;;) {
		const int code = d->event_query(event);
		if (code != NOT_READY)
			return code;
		if (__atomic_load_n(lost, __ATOMIC_ACQUIRE))
			return WAIT_LOST;
		if (__atomic_load_n(stop, __ATOMIC_ACQUIRE))
			return WAIT_STOPPED;
		if (cuda_now() >= until)
			return WAIT_LATE;
		nanosleep(&pause, NULL);
	}
}

// cuda_start launches a kernel over one buffer of all its parameters.
static int cuda_start(const struct cuda *d, void *function, unsigned blocks, unsigned threads, void *stream,
		      void *parameters, size_t n)
{
	void *extra[] = {(void *)1, parameters, (void *)2, &n, NULL}; // CU_LAUNCH_PARAM_BUFFER_POINTER, …_SIZE, …_END
	return d->launch_kernel(function, blocks, 1, 1, threads, 1, 1, 0, stream, NULL, extra);
}

// cuda_compile makes a module of PTX and writes what the compiler says to log.
static int cuda_compile(const struct cuda *d, void **module, const char *ptx, char *log, size_t n)
{
	int options[] = {5, 6}; // CU_JIT_ERROR_LOG_BUFFER, …_SIZE_BYTES
	void *values[] = {log, (void *)(uintptr_t)(n - 1)};
	memset(log, 0, n);
	return d->module_load(module, ptx, 2, options, values);
}
