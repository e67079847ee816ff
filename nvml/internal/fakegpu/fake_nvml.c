//go:build ignore

// A fake libnvidia-ml.so.1 for tests: the functions that vramsim calls, with
// the signatures and struct layouts of NVML's documentation. The line above
// keeps go build from it; Build compiles it, and can leave symbols out.
//
// The environment steers it; it is read at each call, times count from the
// first Init. A time may also be the path of a file, "/tmp/x" for "MS": it has
// come once that is there, which a test decides.
//
//	FAKE_NVML_INIT=9                     Init returns this code
//	FAKE_NVML_DEVICES=1                  number of devices
//	FAKE_NVML_TOTAL, _USED, _RESERVED    bytes of memory: 24 GiB, 1 GiB, 300 MiB; used without reserved
//	FAKE_NVML_SUM=none                   the parts of the memory add up to nothing
//	FAKE_NVML_PROCESSES=self:BYTES,4242:unknown   compute processes, "self" is this one
//	FAKE_NVML_GRAPHICS=77:BYTES          graphics processes, in the same form
//	FAKE_NVML_POWER=100000               milliwatts
//	FAKE_NVML_ENERGY_STEP=20             milliseconds between steps of the energy counter
//	FAKE_NVML_REASONS=MS:BITS            clock reasons from then on; 1 (idle) before
//	FAKE_NVML_XID=MS:NUMBER              an Xid event at that time
//	FAKE_NVML_LOST=MS                    the device is lost from then on
//	FAKE_NVML_HANG=MS                    functions of the device do not return from then on
//	FAKE_NVML_MIG=1                      the device is cut into instances
//	FAKE_NVML_UNSUPPORTED=A,B            functions (or field:185) that say NOT_SUPPORTED
//	FAKE_NVML_LINK_START=N               first value of the link counters
//	FAKE_GPU_LEDGER=FOLDER               what processes have of devices by fake_cuda.c, while they live

#include <ctype.h>
#include <dirent.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum {
	SUCCESS = 0,
	UNINITIALIZED = 1,
	INVALID_ARGUMENT = 2,
	NOT_SUPPORTED = 3,
	NOT_FOUND = 6,
	INSUFFICIENT_SIZE = 7,
	TIMEOUT = 10,
	GPU_IS_LOST = 15,
	VERSION_MISMATCH = 25,
};

typedef unsigned long long u64;

struct device {
	unsigned index;
};

struct event_set {
	int registered;
	int told;
};

static struct device devices[16];
static int users; // of Init
static u64 start; // ns

static u64 monotonic(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return (u64)t.tv_sec * 1000000000u + (u64)t.tv_nsec;
}

static u64 elapsed_ms(void) { return (monotonic() - start) / 1000000; }

static u64 number(const char *name, u64 otherwise)
{
	const char *text = getenv(name);
	return text != NULL && *text != 0 ? strtoull(text, NULL, 0) : otherwise;
}

// due reads "MS:VALUE", or the path of a file without a value, and says whether
// that time has come.
static int due(const char *name, u64 *value)
{
	const char *text = getenv(name);
	char *rest;
	if (text == NULL || *text == 0)
		return 0;
	*value = 0;
	if (*text == '/')
		return access(text, F_OK) == 0;
	u64 at = strtoull(text, &rest, 0);
	*value = *rest == ':' ? strtoull(rest + 1, NULL, 0) : 0;
	return elapsed_ms() >= at;
}

static int listed(const char *name, const char *word)
{
	const char *text = getenv(name);
	size_t n = strlen(word);
	while (text != NULL && *text != 0) {
		if (strncmp(text, word, n) == 0 && (text[n] == ',' || text[n] == 0))
			return 1;
		text = strchr(text, ',');
		text = text != NULL ? text + 1 : NULL;
	}
	return 0;
}

// verdict is what each function of a device starts with.
static int verdict(const char *function, const struct device *d)
{
	u64 ignored;
	if (users == 0)
		return UNINITIALIZED;
	if (d < devices || d >= devices + 16)
		return INVALID_ARGUMENT;
	while (due("FAKE_NVML_HANG", &ignored))
		pause();
	if (due("FAKE_NVML_LOST", &ignored))
		return GPU_IS_LOST;
	return listed("FAKE_NVML_UNSUPPORTED", function) ? NOT_SUPPORTED : SUCCESS;
}

#define ASK(d)                                   \
	do {                                     \
		int code = verdict(__func__, d); \
		if (code != SUCCESS)             \
			return code;             \
	} while (0)

int nvmlInit_v2(void)
{
	int code = (int)number("FAKE_NVML_INIT", SUCCESS);
	if (code != SUCCESS)
		return code;
	if (users++ == 0)
		start = monotonic();
	for (unsigned i = 0; i < 16; i++)
		devices[i].index = i;
	return SUCCESS;
}

int nvmlInit(void) { return nvmlInit_v2(); }

int nvmlShutdown(void)
{
	if (users == 0)
		return UNINITIALIZED;
	users--;
	return SUCCESS;
}

const char *nvmlErrorString(int code)
{
	static char text[64];
	snprintf(text, sizeof text, "fake error %d", code);
	return text;
}

int nvmlSystemGetDriverVersion(char *version, unsigned length)
{
	if (users == 0)
		return UNINITIALIZED;
	snprintf(version, length, "580.00.fake");
	return SUCCESS;
}

int nvmlSystemGetCudaDriverVersion_v2(int *version)
{
	if (users == 0)
		return UNINITIALIZED;
	*version = 13000;
	return SUCCESS;
}

int nvmlDeviceGetCount_v2(unsigned *count)
{
	if (users == 0)
		return UNINITIALIZED;
	*count = (unsigned)number("FAKE_NVML_DEVICES", 1);
	return SUCCESS;
}

int nvmlDeviceGetHandleByIndex_v2(unsigned index, struct device **d)
{
	if (users == 0)
		return UNINITIALIZED;
	if (index >= number("FAKE_NVML_DEVICES", 1) || index >= 16)
		return INVALID_ARGUMENT;
	*d = &devices[index];
	return SUCCESS;
}

int nvmlDeviceGetName(struct device *d, char *name, unsigned length)
{
	ASK(d);
	snprintf(name, length, "Fake GPU %u", d->index);
	return SUCCESS;
}

int nvmlDeviceGetUUID(struct device *d, char *uuid, unsigned length)
{
	ASK(d);
	snprintf(uuid, length, "GPU-fa4e0000-0000-4000-8000-%012u", d->index);
	return SUCCESS;
}

struct pci {
	char legacy[16];
	unsigned domain, bus, device, id, subsystem;
	char bus_id[32];
};

int nvmlDeviceGetPciInfo_v3(struct device *d, struct pci *p)
{
	ASK(d);
	memset(p, 0, sizeof *p);
	p->bus = d->index + 1;
	snprintf(p->legacy, sizeof p->legacy, "0000:%02X:00.0", p->bus);
	snprintf(p->bus_id, sizeof p->bus_id, "00000000:%02X:00.0", p->bus);
	return SUCCESS;
}

int nvmlDeviceGetCudaComputeCapability(struct device *d, int *major, int *minor)
{
	ASK(d);
	*major = 9;
	*minor = 0;
	return SUCCESS;
}

int nvmlDeviceGetMigMode(struct device *d, unsigned *current, unsigned *pending)
{
	ASK(d);
	*current = *pending = (unsigned)number("FAKE_NVML_MIG", 0);
	return SUCCESS;
}

// held reads the ledger: what the next process has of a device. A process that
// has ended has nothing, whatever stands there.
static int held(DIR *ledger, unsigned device, unsigned *pid, u64 *bytes)
{
	struct dirent *e;
	while ((e = readdir(ledger)) != NULL) {
		char path[4096];
		u64 of[4] = {0};
		if (!isdigit((unsigned char)e->d_name[0]))
			continue;
		snprintf(path, sizeof path, "%s/%s", getenv("FAKE_GPU_LEDGER"), e->d_name);
		FILE *f = fopen(path, "r");
		if (f == NULL)
			continue;
		int n = fscanf(f, "%llu %llu %llu %llu", &of[0], &of[1], &of[2], &of[3]);
		fclose(f);
		*pid = (unsigned)strtoul(e->d_name, NULL, 10);
		*bytes = device < 4 ? of[device] : 0;
		if (n == 4 && *bytes > 0 && kill((pid_t)*pid, 0) == 0)
			return 1;
	}
	return 0;
}

static DIR *ledger(void)
{
	const char *folder = getenv("FAKE_GPU_LEDGER");
	return folder != NULL ? opendir(folder) : NULL;
}

static u64 held_by_all(unsigned device)
{
	DIR *l = ledger();
	u64 sum = 0, bytes;
	unsigned pid;
	if (l == NULL)
		return 0;
	while (held(l, device, &pid, &bytes))
		sum += bytes;
	closedir(l);
	return sum;
}

static u64 total(void) { return number("FAKE_NVML_TOTAL", 24ull << 30); }
static u64 used(const struct device *d) { return number("FAKE_NVML_USED", 1ull << 30) + held_by_all(d->index); }
static u64 reserved(void) { return number("FAKE_NVML_RESERVED", 300ull << 20); }

static u64 free_bytes(u64 used)
{
	const char *sum = getenv("FAKE_NVML_SUM");
	u64 lost = sum != NULL && strcmp(sum, "none") == 0 ? 12345 : 0;
	return total() - used - reserved() - lost;
}

struct memory {
	u64 total, free, used;
};

// As in drivers, the first version counts what is reserved as used.
int nvmlDeviceGetMemoryInfo(struct device *d, struct memory *m)
{
	ASK(d);
	m->total = total();
	m->used = used(d) + reserved();
	m->free = free_bytes(m->used - reserved());
	return SUCCESS;
}

struct memory_v2 {
	unsigned version;
	u64 total, reserved, free, used;
};

int nvmlDeviceGetMemoryInfo_v2(struct device *d, struct memory_v2 *m)
{
	ASK(d);
	if (m->version != (sizeof *m | 2u << 24))
		return VERSION_MISMATCH;
	m->total = total();
	m->reserved = reserved();
	m->used = used(d);
	m->free = free_bytes(m->used);
	return SUCCESS;
}

struct process {
	unsigned pid;
	u64 bytes;
	unsigned gpu_instance, compute_instance;
};

static struct process process(unsigned pid, u64 bytes) { return (struct process){.pid = pid, .bytes = bytes, .gpu_instance = ~0u, .compute_instance = ~0u}; }

// processes lists those of the ledger, if there is one, then those of a variable.
static int processes(const char *name, DIR *ledger, unsigned device, unsigned *count, struct process *out)
{
	const char *text = getenv(name);
	unsigned n = 0, room = *count, pid;
	u64 bytes;
	while (ledger != NULL && held(ledger, device, &pid, &bytes)) {
		if (n < room)
			out[n] = process(pid, bytes);
		n++;
	}
	if (ledger != NULL)
		closedir(ledger);
	while (text != NULL && *text != 0) {
		const char *colon = strchr(text, ':');
		if (colon == NULL)
			return INVALID_ARGUMENT;
		if (n < room)
			out[n] = process(strncmp(text, "self:", 5) == 0 ? (unsigned)getpid() : (unsigned)strtoul(text, NULL, 10),
				strncmp(colon + 1, "unknown", 7) == 0 ? ~0ull : strtoull(colon + 1, NULL, 0));
		n++;
		text = strchr(colon, ',');
		text = text != NULL ? text + 1 : NULL;
	}
	*count = n;
	return n > room ? INSUFFICIENT_SIZE : SUCCESS;
}

int nvmlDeviceGetComputeRunningProcesses_v3(struct device *d, unsigned *count, struct process *out)
{
	ASK(d);
	return processes("FAKE_NVML_PROCESSES", ledger(), d->index, count, out);
}

int nvmlDeviceGetGraphicsRunningProcesses_v3(struct device *d, unsigned *count, struct process *out)
{
	ASK(d);
	return processes("FAKE_NVML_GRAPHICS", NULL, d->index, count, out);
}

static u64 power(void) { return number("FAKE_NVML_POWER", 100000); }

int nvmlDeviceGetPowerUsage(struct device *d, unsigned *milliwatts)
{
	ASK(d);
	*milliwatts = (unsigned)power();
	return SUCCESS;
}

struct field {
	unsigned id, scope;
	long long timestamp, latency;
	unsigned type;
	int code;
	union {
		double real;
		unsigned ui;
		u64 ull;
	} value;
};

static void whole(struct field *f, u64 value)
{
	f->type = 3;
	f->value.ull = value;
}

static void small(struct field *f, u64 value)
{
	f->type = 1;
	f->value.ui = (unsigned)value;
}

static void fill(struct field *f)
{
	char name[32];
	u64 step = number("FAKE_NVML_ENERGY_STEP", 20), ms = elapsed_ms();
	snprintf(name, sizeof name, "field:%u", f->id);
	f->code = listed("FAKE_NVML_UNSUPPORTED", name) ? NOT_SUPPORTED : SUCCESS;
	memset(&f->value, 0xab, sizeof f->value);
	switch (f->id) {
	case 83: // millijoules = milliwatts × seconds
		whole(f, 5000000 + power() * (ms / step * step) / 1000);
		break;
	case 185:
		small(f, power());
		break;
	case 186:
		small(f, power() + 1000);
		break;
	case 197:
		whole(f, number("FAKE_NVML_LINK_START", 0) + ms * 2000);
		break;
	case 198:
		whole(f, number("FAKE_NVML_LINK_START", 0) + ms * 3000);
		break;
	default:
		f->code = INVALID_ARGUMENT;
	}
}

int nvmlDeviceGetFieldValues(struct device *d, int count, struct field *fields)
{
	ASK(d);
	for (int i = 0; i < count; i++)
		fill(&fields[i]);
	return SUCCESS;
}

int nvmlDeviceGetClockInfo(struct device *d, unsigned type, unsigned *mhz)
{
	ASK(d);
	*mhz = type == 1 ? 1500 : type == 2 ? 2600 : 0;
	return SUCCESS;
}

int nvmlDeviceGetTemperature(struct device *d, unsigned sensor, unsigned *celsius)
{
	ASK(d);
	*celsius = 41;
	return sensor == 0 ? SUCCESS : INVALID_ARGUMENT;
}

int nvmlDeviceGetCurrentClocksEventReasons(struct device *d, u64 *reasons)
{
	ASK(d);
	if (!due("FAKE_NVML_REASONS", reasons))
		*reasons = 1;
	return SUCCESS;
}

int nvmlDeviceGetMaxPcieLinkGeneration(struct device *d, unsigned *value)
{
	ASK(d);
	*value = 5;
	return SUCCESS;
}

int nvmlDeviceGetMaxPcieLinkWidth(struct device *d, unsigned *value)
{
	ASK(d);
	*value = 16;
	return SUCCESS;
}

int nvmlDeviceGetCurrPcieLinkGeneration(struct device *d, unsigned *value)
{
	ASK(d);
	*value = 1;
	return SUCCESS;
}

int nvmlDeviceGetCurrPcieLinkWidth(struct device *d, unsigned *value)
{
	ASK(d);
	*value = 16;
	return SUCCESS;
}

enum { XID_EVENT = 8 };

int nvmlDeviceGetSupportedEventTypes(struct device *d, u64 *types)
{
	ASK(d);
	*types = XID_EVENT | 4;
	return SUCCESS;
}

int nvmlEventSetCreate(struct event_set **set)
{
	if (users == 0)
		return UNINITIALIZED;
	*set = calloc(1, sizeof **set);
	return SUCCESS;
}

int nvmlEventSetFree(struct event_set *set)
{
	free(set);
	return SUCCESS;
}

int nvmlDeviceRegisterEvents(struct device *d, u64 types, struct event_set *set)
{
	ASK(d);
	if ((types & ~(u64)(XID_EVENT | 4)) != 0)
		return NOT_SUPPORTED;
	set->registered = 1;
	return SUCCESS;
}

struct event {
	struct device *device;
	u64 type, data;
	unsigned gpu_instance, compute_instance;
};

int nvmlEventSetWait_v2(struct event_set *set, struct event *e, unsigned timeout_ms)
{
	u64 end = elapsed_ms() + timeout_ms, xid;
	if (users == 0)
		return UNINITIALIZED;
	if (!set->registered)
		return INVALID_ARGUMENT;
	for (;;) {
		if (!set->told && due("FAKE_NVML_XID", &xid)) {
			set->told = 1;
			*e = (struct event){.device = &devices[0], .type = XID_EVENT, .data = xid};
			return SUCCESS;
		}
		if (elapsed_ms() >= end)
			return TIMEOUT;
		usleep(1000);
	}
}
