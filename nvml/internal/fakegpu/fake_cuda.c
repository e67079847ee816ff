//go:build ignore

// A fake libcuda.so.1 for tests: the functions that vramsim calls, with the
// signatures of the driver API's documentation. The line above keeps go build
// from it; Build compiles it, and can leave symbols out.
//
// It behaves like a driver: memory is a ledger, backed by pages of the host that
// take no room until they are written, so copies and sums are really computed;
// each stream is a thread that works off what was enqueued, in order; an access
// outside of what is allocated, like an error in a kernel, sticks to the context.
// It knows vramsim's kernels by name and computes what they compute.
//
// Settings are variables of the environment, read when the library is loaded and
// by fake_reset, and set by fake_set under the names after FAKE_CUDA_:
//
//	FAKE_CUDA_DEVICES=1      devices, at most 4; their UUIDs are fake_nvml.c's
//	FAKE_CUDA_TOTAL=BYTES    of memory, 24 GiB; OTHERS of them are of other processes
//	FAKE_CUDA_CONTEXT=BYTES  that a context takes, 64 MiB
//	FAKE_CUDA_GRAIN=512      that allocations are rounded up to
//	FAKE_CUDA_PINNED=BYTES   that can be pinned, 1 TiB
//	FAKE_CUDA_BANDWIDTH=MBPS of copies; 0, the default: as fast as memory is
//	FAKE_CUDA_BURN=PS        that an iteration of burn_fma takes, 1000000
//	FAKE_CUDA_JIT=70         the oldest target that is compiled
//	FAKE_CUDA_FREE_WAITS=1   cuMemFree waits for what was enqueued before
//	FAKE_CUDA_FAIL_AT=N      the N-th launch, copy or memset from then on is refused (701)
//	FAKE_CUDA_STICKY_AT=N    … breaks its context (719)
//	FAKE_CUDA_HANG_AT=N      … never ends
//	FAKE_CUDA_CORRUPT_AT=N   … if a copy to the device, gets a bit wrong
//	FAKE_CUDA_BROKEN=1       contexts cannot be made any more (999)
//	FAKE_CUDA_DEAF=1         cuInit does not return
//
// FAKE_GPU_LEDGER=FOLDER lets fake_nvml.c know what each process has of a device.
//
// fake_get tells these and, as HELD, LIVE, CONTEXTS and OPERATIONS, the bytes that
// this process has of all devices, the handles and allocations that are alive,
// the contexts that are, and how many operations were enqueued.

#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

enum {
	SUCCESS = 0,
	INVALID_VALUE = 1,
	OUT_OF_MEMORY = 2,
	NOT_INITIALIZED = 3,
	INVALID_DEVICE = 101,
	INVALID_CONTEXT = 201,
	INVALID_PTX = 218,
	INVALID_HANDLE = 400,
	NOT_FOUND = 500,
	NOT_READY = 600,
	ILLEGAL_ADDRESS = 700,
	LAUNCH_OUT_OF_RESOURCES = 701,
	CONTEXT_IS_DESTROYED = 709,
	LAUNCH_FAILED = 719,
	UNKNOWN = 999,
};

typedef uint64_t u64;
typedef uint32_t u32;

static struct setting {
	const char *name;
	u64 initial, value;
} settings[] = {
	{"DEVICES", 1, 0},
	{"TOTAL", 24ull << 30, 0},
	{"OTHERS", 0, 0},
	{"CONTEXT", 64 << 20, 0},
	{"GRAIN", 512, 0},
	{"PINNED", 1ull << 40, 0},
	{"BANDWIDTH", 0, 0},
	{"BURN", 1000000, 0},
	{"JIT", 70, 0},
	{"FREE_WAITS", 1, 0},
	{"FAIL_AT", 0, 0},
	{"STICKY_AT", 0, 0},
	{"HANG_AT", 0, 0},
	{"CORRUPT_AT", 0, 0},
	{"BROKEN", 0, 0},
	{"DEAF", 0, 0},
};

enum { DEVICES, TOTAL, OTHERS, CONTEXT, GRAIN, PINNED, BANDWIDTH, BURN, JIT, FREE_WAITS, FAIL_AT, STICKY_AT, HANG_AT, CORRUPT_AT, BROKEN, DEAF, SETTINGS };

enum { MOST_DEVICES = 4 };

// All that follows is guarded by lock; changed tells of each change.
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;
static int initialised;
static u64 operations;

enum kind { MEMORY, HOST_MEMORY, STREAM, EVENT, MODULE, FUNCTION };

// A handle is a node of its context's list: memory, streams, events, modules.
struct handle {
	struct handle *next;
	enum kind kind;
	char *memory; // of memory
	u64 size;
	u64 charged;
	struct operation *first, **last; // of a stream: what is not done, oldest first
	u64 enqueued, done;
	int closing;
	struct handle *stream; // of an event: where it was recorded
	u64 mark, at;	       // when enqueued there, and the time when it happened
	char *text;	       // of a module; a function's name
};

struct context {
	int device;
	int sticky, destroyed;
	int threads;
	struct handle *handles;
};

static struct device {
	struct context *context;
	int users;
	u64 used;
} devices[MOST_DEVICES];

// publish tells fake_nvml.c, in the folder that FAKE_GPU_LEDGER names, what this
// process has of each device. The lock is held.
static void publish(void)
{
	const char *folder = getenv("FAKE_GPU_LEDGER");
	char part[4096], whole[4096];
	if (folder == NULL)
		return;
	snprintf(part, sizeof part, "%s/.%d", folder, (int)getpid());
	snprintf(whole, sizeof whole, "%s/%d", folder, (int)getpid());
	FILE *f = fopen(part, "w");
	if (f == NULL)
		abort();
	for (int i = 0; i < MOST_DEVICES; i++)
		fprintf(f, "%llu ", (unsigned long long)devices[i].used);
	if (fclose(f) != 0 || rename(part, whole) != 0)
		abort();
}

static u64 pinned;

enum work { COPY_IN, COPY_OUT, SET, RECORD, KERNEL };

struct operation {
	struct operation *next;
	enum work work;
	char *to, *from;
	u64 n;
	int value;
	struct handle *event;
	u64 mark;
	char kernel[16];
	u64 parameters[4];
	int sticky, hang, corrupt;
};

static __thread struct context *current;

static u64 monotonic(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return (u64)t.tv_sec * 1000000000u + (u64)t.tv_nsec;
}

static void pause_ns(u64 ns)
{
	struct timespec t = {(time_t)(ns / 1000000000u), (long)(ns % 1000000000u)};
	nanosleep(&t, NULL);
}

static struct setting *setting(const char *name)
{
	for (int i = 0; i < SETTINGS; i++)
		if (strcmp(settings[i].name, name) == 0)
			return &settings[i];
	return NULL;
}

static void destroy(struct device *d);

// fake_reset takes all settings from the environment again and destroys the
// contexts that are left.
__attribute__((constructor)) void fake_reset(void)
{
	pthread_mutex_lock(&lock);
	for (int i = 0; i < MOST_DEVICES; i++) {
		destroy(&devices[i]);
		devices[i].users = 0;
	}
	for (int i = 0; i < SETTINGS; i++) {
		char name[64];
		snprintf(name, sizeof name, "FAKE_CUDA_%s", settings[i].name);
		const char *text = getenv(name);
		settings[i].value = text != NULL && *text != 0 ? strtoull(text, NULL, 0) : settings[i].initial;
	}
	operations = 0;
	pthread_mutex_unlock(&lock);
}

int fake_set(const char *name, u64 value)
{
	struct setting *s = setting(name);
	if (s == NULL)
		return INVALID_VALUE;
	pthread_mutex_lock(&lock);
	s->value = value;
	pthread_mutex_unlock(&lock);
	return SUCCESS;
}

static u64 count(int contexts)
{
	u64 n = 0;
	for (int i = 0; i < MOST_DEVICES; i++) {
		if (devices[i].context == NULL)
			continue;
		if (contexts)
			n++;
		else
			for (struct handle *h = devices[i].context->handles; h != NULL; h = h->next)
				n += h->kind != FUNCTION;
	}
	return n;
}

int fake_get(const char *name, u64 *value)
{
	const struct setting *s = setting(name);
	int code = SUCCESS;
	pthread_mutex_lock(&lock);
	if (s != NULL) {
		*value = s->value;
	} else if (strcmp(name, "HELD") == 0) {
		*value = 0;
		for (int i = 0; i < MOST_DEVICES; i++)
			*value += devices[i].used;
	} else if (strcmp(name, "LIVE") == 0) {
		*value = count(0);
	} else if (strcmp(name, "CONTEXTS") == 0) {
		*value = count(1);
	} else if (strcmp(name, "OPERATIONS") == 0) {
		*value = operations;
	} else {
		code = INVALID_VALUE;
	}
	pthread_mutex_unlock(&lock);
	return code;
}

// enter takes the lock and says what keeps a call from its context.
static int enter(void)
{
	pthread_mutex_lock(&lock);
	if (!initialised)
		return NOT_INITIALIZED;
	if (current == NULL)
		return INVALID_CONTEXT;
	if (current->destroyed)
		return CONTEXT_IS_DESTROYED;
	return current->sticky;
}

static int leave(int code)
{
	pthread_mutex_unlock(&lock);
	return code;
}

#define ENTER                         \
	do {                          \
		int code = enter();   \
		if (code != SUCCESS)  \
			return leave(code); \
	} while (0)

static struct handle *new_handle(enum kind kind)
{
	struct handle *h = calloc(1, sizeof *h);
	h->kind = kind;
	h->last = &h->first;
	h->next = current->handles;
	current->handles = h;
	return h;
}

static struct handle **find(struct context *c, const void *handle, enum kind kind)
{
	for (struct handle **h = &c->handles; *h != NULL; h = &(*h)->next)
		if (*h == handle && (*h)->kind == kind)
			return h;
	return NULL;
}

// inside says whether [at, at+n) lies in one allocation.
static int inside(const struct context *c, const char *at, u64 n, enum kind kind)
{
	for (const struct handle *h = c->handles; h != NULL; h = h->next)
		if (h->kind == kind && at >= h->memory && n <= h->size && (u64)(at - h->memory) <= h->size - n)
			return 1;
	return 0;
}

static void release_memory(struct context *c, struct handle *h)
{
	munmap(h->memory, h->size);
	if (h->kind == MEMORY)
		devices[c->device].used -= h->charged;
	else
		pinned -= h->charged;
	publish();
}

static void remove_handle(struct context *c, struct handle **place)
{
	struct handle *h = *place;
	*place = h->next;
	if (h->kind == MEMORY || h->kind == HOST_MEMORY)
		release_memory(c, h);
	free(h->text);
	free(h);
}

// ---- kernels ----

static u32 word(u32 seed, u64 i)
{
	u32 x = (u32)i * 0x9E3779B1u + (u32)(i >> 32) * 0x85EBCA77u + seed;
	x ^= x >> 16;
	x *= 0x85EBCA6Bu;
	x ^= x >> 13;
	x *= 0xC2B2AE35u;
	return x ^ x >> 16;
}

static int spin_ns(struct context *c, const u64 *p)
{
	u64 *out = (u64 *)p[1];
	pthread_mutex_lock(&lock);
	int ok = inside(c, (char *)out, 16, MEMORY);
	pthread_mutex_unlock(&lock);
	if (!ok)
		return ILLEGAL_ADDRESS;
	if (out[0] == 0)
		out[0] = monotonic();
	u64 elapsed;
	while ((elapsed = monotonic() - out[0]) < p[0])
		pause_ns(p[0] - elapsed);
	out[1] = elapsed;
	return SUCCESS;
}

static int burn_fma(struct context *c, const u64 *p)
{
	u64 *out = (u64 *)p[1];
	pthread_mutex_lock(&lock);
	int ok = inside(c, (char *)out, 16, MEMORY);
	u64 ns = settings[BURN].value * p[0] / 1000;
	pthread_mutex_unlock(&lock);
	if (!ok)
		return ILLEGAL_ADDRESS;
	pause_ns(ns);
	out[0] += p[0];
	return SUCCESS;
}

static int sum_u32(struct context *c, const u64 *p)
{
	const u32 *src = (const u32 *)p[0];
	pthread_mutex_lock(&lock);
	int ok = inside(c, (char *)src, p[1] * 16, MEMORY) && inside(c, (char *)p[3], 8, MEMORY) && p[0] % 16 == 0;
	pthread_mutex_unlock(&lock);
	if (!ok)
		return ILLEGAL_ADDRESS;
	u64 sum = 0;
	for (u64 pass = 0; pass < p[2]; pass++) {
		for (u64 i = 0; i < p[1] * 4; i++)
			sum += (u64)src[i] * (u32)(2 * (u32)i + 1);
		__asm__ volatile("" ::: "memory"); // each pass reads again
	}
	*(u64 *)p[3] += sum;
	return SUCCESS;
}

static int fill_u32(struct context *c, const u64 *p)
{
	u32 *dst = (u32 *)p[0];
	pthread_mutex_lock(&lock);
	int ok = inside(c, (char *)dst, p[1] * 4, MEMORY);
	pthread_mutex_unlock(&lock);
	if (!ok)
		return ILLEGAL_ADDRESS;
	for (u64 i = 0; i < p[1]; i++)
		dst[i] = word((u32)p[2], i);
	return SUCCESS;
}

static const struct kernel {
	const char *name;
	u64 parameters;
	int (*run)(struct context *, const u64 *);
} kernels[] = {
	{"spin_ns", 16, spin_ns},
	{"burn_fma", 16, burn_fma},
	{"sum_u32", 32, sum_u32},
	{"fill_u32", 24, fill_u32},
};

static const struct kernel *kernel(const char *name)
{
	for (size_t i = 0; i < sizeof kernels / sizeof *kernels; i++)
		if (strcmp(kernels[i].name, name) == 0)
			return &kernels[i];
	return NULL;
}

// ---- streams ----

static int copy(struct context *c, struct operation *o)
{
	pthread_mutex_lock(&lock);
	int ok = o->work == COPY_IN ? inside(c, o->to, o->n, MEMORY) : inside(c, o->from, o->n, MEMORY);
	u64 bandwidth = settings[BANDWIDTH].value;
	pthread_mutex_unlock(&lock);
	if (!ok)
		return ILLEGAL_ADDRESS;
	u64 begin = monotonic();
	memcpy(o->to, o->from, o->n);
	if (o->corrupt && o->work == COPY_IN)
		o->to[o->n / 2] ^= 1;
	u64 took = monotonic() - begin, due = bandwidth > 0 ? o->n * 1000 / bandwidth : 0;
	if (due > took)
		pause_ns(due - took);
	return SUCCESS;
}

static int set(struct context *c, struct operation *o)
{
	pthread_mutex_lock(&lock);
	int ok = inside(c, o->to, o->n, MEMORY);
	pthread_mutex_unlock(&lock);
	if (!ok)
		return ILLEGAL_ADDRESS;
	memset(o->to, o->value, o->n);
	return SUCCESS;
}

// carry_out does an operation without the lock and returns what sticks.
static int carry_out(struct context *c, struct operation *o)
{
	if (o->sticky)
		return LAUNCH_FAILED;
	switch (o->work) {
	case COPY_IN:
	case COPY_OUT:
		return copy(c, o);
	case SET:
		return set(c, o);
	case KERNEL:
		return kernel(o->kernel)->run(c, o->parameters);
	case RECORD:
		break;
	}
	return SUCCESS;
}

struct worker {
	struct context *context;
	struct handle *stream;
};

// work_off is a stream's thread.
static void *work_off(void *argument)
{
	struct worker w = *(struct worker *)argument;
	struct context *c = w.context;
	struct handle *s = w.stream;
	free(argument);
	pthread_mutex_lock(&lock);
	for (;;) {
		while (!c->destroyed && s->first == NULL && !s->closing)
			pthread_cond_wait(&changed, &lock);
		struct operation *o = s->first;
		if (c->destroyed || o == NULL)
			break;
		while (o->hang && !c->destroyed)
			pthread_cond_wait(&changed, &lock);
		if (c->destroyed)
			break;
		if (!c->sticky) {
			pthread_mutex_unlock(&lock);
			int code = carry_out(c, o);
			pthread_mutex_lock(&lock);
			if (code != SUCCESS && !c->sticky)
				c->sticky = code;
		}
		struct handle **e = o->work == RECORD ? find(c, o->event, EVENT) : NULL;
		if (e != NULL && (*e)->mark == o->mark && (*e)->stream == s)
			(*e)->at = monotonic();
		s->first = o->next;
		if (s->first == NULL)
			s->last = &s->first;
		s->done++;
		free(o);
		pthread_cond_broadcast(&changed);
	}
	while (s->first != NULL) {
		struct operation *o = s->first;
		s->first = o->next;
		free(o);
	}
	if (!c->destroyed)
		remove_handle(c, find(c, s, STREAM));
	c->threads--;
	pthread_cond_broadcast(&changed);
	pthread_mutex_unlock(&lock);
	return NULL;
}

// due counts a setting down and says whether its time has come.
static int due(int which)
{
	u64 *n = &settings[which].value;
	return *n > 0 && --*n == 0;
}

// enqueue takes the lock's caller's operation to a stream.
static int enqueue(void *stream, struct operation o)
{
	struct handle **place = find(current, stream, STREAM);
	if (place == NULL || (*place)->closing)
		return INVALID_HANDLE;
	struct handle *s = *place;
	if (o.work != RECORD) {
		operations++;
		if (due(FAIL_AT))
			return LAUNCH_OUT_OF_RESOURCES;
		o.sticky = due(STICKY_AT);
		o.hang = due(HANG_AT);
		o.corrupt = due(CORRUPT_AT);
	}
	struct operation *copied = malloc(sizeof o);
	*copied = o;
	copied->next = NULL;
	s->enqueued++;
	if (o.work == RECORD) {
		o.event->stream = s;
		copied->mark = o.event->mark = s->enqueued;
		o.event->at = 0;
	}
	*s->last = copied;
	s->last = &copied->next;
	pthread_cond_broadcast(&changed);
	return SUCCESS;
}

int cuStreamCreate(void **stream, unsigned flags)
{
	(void)flags;
	ENTER;
	struct worker *w = malloc(sizeof *w);
	w->context = current;
	w->stream = new_handle(STREAM);
	*stream = w->stream;
	current->threads++;
	pthread_t thread;
	if (pthread_create(&thread, NULL, work_off, w) != 0)
		abort();
	pthread_detach(thread);
	return leave(SUCCESS);
}

int cuStreamDestroy_v2(void *stream)
{
	ENTER;
	struct handle **s = find(current, stream, STREAM);
	if (s == NULL)
		return leave(INVALID_HANDLE);
	(*s)->closing = 1; // goes when it is empty
	pthread_cond_broadcast(&changed);
	struct context *c = current;
	while (!c->destroyed && !c->sticky && find(c, stream, STREAM) != NULL && (*find(c, stream, STREAM))->first == NULL)
		pthread_cond_wait(&changed, &lock);
	return leave(SUCCESS);
}

int cuEventCreate(void **event, unsigned flags)
{
	(void)flags;
	ENTER;
	*event = new_handle(EVENT);
	return leave(SUCCESS);
}

int cuEventDestroy_v2(void *event)
{
	ENTER;
	struct handle **e = find(current, event, EVENT);
	if (e == NULL)
		return leave(INVALID_HANDLE);
	remove_handle(current, e);
	return leave(SUCCESS);
}

int cuEventRecord(void *event, void *stream)
{
	ENTER;
	struct handle **e = find(current, event, EVENT);
	if (e == NULL)
		return leave(INVALID_HANDLE);
	return leave(enqueue(stream, (struct operation){.work = RECORD, .event = *e}));
}

static int pending(const struct handle *event) { return event->stream != NULL && event->at == 0; }

int cuEventQuery(void *event)
{
	ENTER;
	struct handle **e = find(current, event, EVENT);
	if (e == NULL)
		return leave(INVALID_HANDLE);
	return leave(pending(*e) ? NOT_READY : SUCCESS);
}

int cuEventElapsedTime(float *ms, void *from, void *to)
{
	ENTER;
	struct handle **a = find(current, from, EVENT), **b = find(current, to, EVENT);
	if (a == NULL || b == NULL || (*a)->stream == NULL || (*b)->stream == NULL)
		return leave(INVALID_HANDLE);
	if (pending(*a) || pending(*b))
		return leave(NOT_READY);
	*ms = (float)((double)((*b)->at - (*a)->at) / 1e6);
	return leave(SUCCESS);
}

int cuMemcpyHtoDAsync_v2(u64 to, const void *from, size_t n, void *stream)
{
	ENTER;
	if (!inside(current, from, n, HOST_MEMORY))
		return leave(INVALID_VALUE); // a driver would copy it, but not at once
	return leave(enqueue(stream, (struct operation){.work = COPY_IN, .to = (char *)to, .from = (char *)(uintptr_t)from, .n = n}));
}

int cuMemcpyDtoHAsync_v2(void *to, u64 from, size_t n, void *stream)
{
	ENTER;
	if (!inside(current, to, n, HOST_MEMORY))
		return leave(INVALID_VALUE);
	return leave(enqueue(stream, (struct operation){.work = COPY_OUT, .to = to, .from = (char *)from, .n = n}));
}

int cuMemsetD8Async(u64 to, unsigned char value, size_t n, void *stream)
{
	ENTER;
	return leave(enqueue(stream, (struct operation){.work = SET, .to = (char *)to, .n = n, .value = value}));
}

int cuLaunchKernel(void *function, unsigned gx, unsigned gy, unsigned gz, unsigned bx, unsigned by, unsigned bz, unsigned shared,
		   void *stream, void **parameters, void **extra)
{
	ENTER;
	struct handle **f = find(current, function, FUNCTION);
	if (f == NULL)
		return leave(INVALID_HANDLE);
	const struct kernel *k = kernel((*f)->text);
	if (gx == 0 || gy != 1 || gz != 1 || bx == 0 || bx > 1024 || by != 1 || bz != 1 || shared != 0 || parameters != NULL)
		return leave(INVALID_VALUE);
	if (extra == NULL || extra[0] != (void *)1 || extra[2] != (void *)2 || extra[4] != NULL || *(size_t *)extra[3] != k->parameters)
		return leave(INVALID_VALUE);
	struct operation o = {.work = KERNEL};
	snprintf(o.kernel, sizeof o.kernel, "%s", k->name);
	memcpy(o.parameters, extra[1], k->parameters);
	return leave(enqueue(stream, o));
}

// ---- memory ----

static struct handle *map_memory(u64 n, u64 charged, enum kind kind)
{
	char *memory = mmap(NULL, n, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (memory == MAP_FAILED)
		return NULL;
	struct handle *h = new_handle(kind);
	h->memory = memory;
	h->size = n;
	h->charged = charged;
	return h;
}

static u64 available(int device)
{
	u64 taken = settings[OTHERS].value + devices[device].used;
	return settings[TOTAL].value > taken ? settings[TOTAL].value - taken : 0;
}

int cuMemGetInfo_v2(size_t *free, size_t *total)
{
	ENTER;
	*free = available(current->device);
	*total = settings[TOTAL].value;
	return leave(SUCCESS);
}

int cuMemAlloc_v2(u64 *address, size_t n)
{
	ENTER;
	u64 grain = settings[GRAIN].value, charged = (n + grain - 1) / grain * grain;
	if (n == 0)
		return leave(INVALID_VALUE);
	if (charged > available(current->device))
		return leave(OUT_OF_MEMORY);
	struct handle *h = map_memory(n, charged, MEMORY);
	if (h == NULL)
		return leave(OUT_OF_MEMORY);
	devices[current->device].used += charged;
	publish();
	*address = (u64)h->memory;
	return leave(SUCCESS);
}

static struct handle **find_memory(struct context *c, const void *memory, enum kind kind)
{
	for (struct handle **h = &c->handles; *h != NULL; h = &(*h)->next)
		if ((*h)->kind == kind && (*h)->memory == memory)
			return h;
	return NULL;
}

// behind says whether a stream has yet to do what was enqueued before a mark.
static int behind(const struct context *c, const struct handle *s, u64 mark)
{
	for (const struct handle *h = c->handles; h != NULL; h = h->next)
		if (h == s && h->kind == STREAM)
			return h->done < mark;
	return 0;
}

// settle waits for all that is enqueued in a context.
static int settle(struct context *c)
{
	struct handle *streams[256];
	u64 marks[256];
	int n = 0;
	for (struct handle *h = c->handles; h != NULL && n < 256; h = h->next)
		if (h->kind == STREAM) {
			streams[n] = h;
			marks[n++] = h->enqueued;
		}
	for (int i = 0; i < n; i++)
		while (!c->destroyed && !c->sticky && behind(c, streams[i], marks[i]))
			pthread_cond_wait(&changed, &lock);
	return c->destroyed ? CONTEXT_IS_DESTROYED : c->sticky;
}

static int free_memory(const void *memory, enum kind kind)
{
	ENTER;
	if (find_memory(current, memory, kind) == NULL)
		return leave(INVALID_VALUE);
	if (settings[FREE_WAITS].value) {
		int code = settle(current);
		if (code != SUCCESS)
			return leave(code);
	}
	struct handle **h = find_memory(current, memory, kind);
	if (h == NULL)
		return leave(INVALID_VALUE); // freed twice
	remove_handle(current, h);
	return leave(SUCCESS);
}

int cuMemFree_v2(u64 address) { return free_memory((void *)address, MEMORY); }

int cuMemHostAlloc(void **memory, size_t n, unsigned flags)
{
	(void)flags;
	ENTER;
	if (n == 0)
		return leave(INVALID_VALUE);
	if (n > settings[PINNED].value || pinned > settings[PINNED].value - n)
		return leave(OUT_OF_MEMORY);
	struct handle *h = map_memory(n, n, HOST_MEMORY);
	if (h == NULL)
		return leave(OUT_OF_MEMORY);
	pinned += n;
	*memory = h->memory;
	return leave(SUCCESS);
}

int cuMemFreeHost(void *memory) { return free_memory(memory, HOST_MEMORY); }

// ---- modules ----

int cuModuleLoadDataEx(void **module, const void *image, unsigned n, int *options, void **values)
{
	ENTER;
	const char *target = strstr(image, ".target sm_");
	char *log = NULL;
	size_t size = 0;
	for (unsigned i = 0; i < n; i++) {
		if (options[i] == 5)
			log = values[i];
		if (options[i] == 6)
			size = (size_t)values[i];
	}
	if (strstr(image, ".version ") == NULL || target == NULL || strtoull(target + 11, NULL, 10) < settings[JIT].value) {
		if (log != NULL)
			snprintf(log, size, "ptxas fatal : Value '%.5s' is not defined for option 'gpu-name'", target != NULL ? target + 8 : "?");
		return leave(INVALID_PTX);
	}
	struct handle *m = new_handle(MODULE);
	m->text = strdup(image);
	*module = m;
	return leave(SUCCESS);
}

int cuModuleUnload(void *module)
{
	ENTER;
	struct handle **m = find(current, module, MODULE);
	if (m == NULL)
		return leave(INVALID_HANDLE);
	remove_handle(current, m);
	return leave(SUCCESS);
}

int cuModuleGetFunction(void **function, void *module, const char *name)
{
	ENTER;
	struct handle **m = find(current, module, MODULE);
	if (m == NULL)
		return leave(INVALID_HANDLE);
	char entry[64];
	snprintf(entry, sizeof entry, ".entry %s(", name);
	if (strstr((*m)->text, entry) == NULL || kernel(name) == NULL)
		return leave(NOT_FOUND);
	struct handle *f = new_handle(FUNCTION);
	f->text = strdup(name);
	*function = f;
	return leave(SUCCESS);
}

// ---- devices and contexts ----

int cuInit(unsigned flags)
{
	pthread_mutex_lock(&lock);
	while (settings[DEAF].value) { // without the lock: others go on
		pthread_mutex_unlock(&lock);
		usleep(1000);
		pthread_mutex_lock(&lock);
	}
	initialised = 1;
	return leave(flags == 0 ? SUCCESS : INVALID_VALUE);
}

int cuDriverGetVersion(int *version)
{
	*version = 13000;
	return SUCCESS;
}

int cuDeviceGetCount(int *n)
{
	*n = (int)settings[DEVICES].value;
	return initialised ? SUCCESS : NOT_INITIALIZED;
}

int cuDeviceGet(int *device, int ordinal)
{
	*device = ordinal;
	return ordinal >= 0 && ordinal < (int)settings[DEVICES].value && ordinal < MOST_DEVICES ? SUCCESS : INVALID_DEVICE;
}

int cuDeviceGetName(char *name, int size, int device)
{
	snprintf(name, (size_t)size, "Fake GPU %d", device);
	return SUCCESS;
}

int cuDeviceGetUuid_v2(unsigned char *uuid, int device)
{
	static const unsigned char first[16] = {0xfa, 0x4e, 0, 0, 0, 0, 0x40, 0, 0x80};
	memcpy(uuid, first, sizeof first);
	uuid[15] = (unsigned char)device;
	return SUCCESS;
}

int cuDeviceGetAttribute(int *value, int which, int device)
{
	(void)device;
	switch (which) {
	case 16: // MULTIPROCESSOR_COUNT
		*value = 4;
		return SUCCESS;
	case 75: // COMPUTE_CAPABILITY_MAJOR
		*value = 9;
		return SUCCESS;
	case 76: // …MINOR
		*value = 0;
		return SUCCESS;
	}
	return INVALID_VALUE;
}

int cuDevicePrimaryCtxRetain(void **context, int device)
{
	pthread_mutex_lock(&lock);
	struct device *d = &devices[device];
	if (!initialised)
		return leave(NOT_INITIALIZED);
	if (settings[BROKEN].value)
		return leave(UNKNOWN);
	if (d->context == NULL) {
		if (settings[CONTEXT].value > available(device))
			return leave(OUT_OF_MEMORY);
		d->context = calloc(1, sizeof *d->context); // kept: threads may have it current
		d->context->device = device;
		d->used += settings[CONTEXT].value;
		publish();
	}
	d->users++;
	*context = d->context;
	return leave(SUCCESS);
}

// destroy ends a context with all that is in it.
static void destroy(struct device *d)
{
	struct context *c = d->context;
	if (c == NULL)
		return;
	c->destroyed = 1;
	pthread_cond_broadcast(&changed);
	while (c->threads > 0)
		pthread_cond_wait(&changed, &lock);
	while (c->handles != NULL)
		remove_handle(c, &c->handles);
	d->used = 0;
	publish();
	d->context = NULL;
}

int cuDevicePrimaryCtxRelease_v2(int device)
{
	pthread_mutex_lock(&lock);
	struct device *d = &devices[device];
	if (d->users == 0)
		return leave(INVALID_CONTEXT);
	if (--d->users == 0)
		destroy(d);
	return leave(SUCCESS);
}

int cuDevicePrimaryCtxReset_v2(int device)
{
	pthread_mutex_lock(&lock);
	destroy(&devices[device]);
	return leave(SUCCESS);
}

int cuCtxSetCurrent(void *context)
{
	pthread_mutex_lock(&lock);
	struct context *c = context;
	if (c != NULL && c->destroyed)
		return leave(CONTEXT_IS_DESTROYED);
	current = c;
	return leave(SUCCESS);
}

int cuGetErrorName(int code, const char **name)
{
	static const struct {
		int code;
		const char *name;
	} names[] = {
		{SUCCESS, "CUDA_SUCCESS"},
		{INVALID_VALUE, "CUDA_ERROR_INVALID_VALUE"},
		{OUT_OF_MEMORY, "CUDA_ERROR_OUT_OF_MEMORY"},
		{NOT_INITIALIZED, "CUDA_ERROR_NOT_INITIALIZED"},
		{INVALID_DEVICE, "CUDA_ERROR_INVALID_DEVICE"},
		{INVALID_CONTEXT, "CUDA_ERROR_INVALID_CONTEXT"},
		{INVALID_PTX, "CUDA_ERROR_INVALID_PTX"},
		{INVALID_HANDLE, "CUDA_ERROR_INVALID_HANDLE"},
		{NOT_FOUND, "CUDA_ERROR_NOT_FOUND"},
		{NOT_READY, "CUDA_ERROR_NOT_READY"},
		{ILLEGAL_ADDRESS, "CUDA_ERROR_ILLEGAL_ADDRESS"},
		{LAUNCH_OUT_OF_RESOURCES, "CUDA_ERROR_LAUNCH_OUT_OF_RESOURCES"},
		{CONTEXT_IS_DESTROYED, "CUDA_ERROR_CONTEXT_IS_DESTROYED"},
		{LAUNCH_FAILED, "CUDA_ERROR_LAUNCH_FAILED"},
		{UNKNOWN, "CUDA_ERROR_UNKNOWN"},
	};
	for (size_t i = 0; i < sizeof names / sizeof *names; i++)
		if (names[i].code == code) {
			*name = names[i].name;
			return SUCCESS;
		}
	return INVALID_VALUE;
}
