/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Signals as objects: sdm-signal (an interrupt, or the type given by number=)
 * and sdm-signal-shboot (BOOT out of a memory-backend-shared).
 */
#include "qemu/osdep.h"
#include "qapi/error.h"
#include "qapi/visitor.h"
#include "qemu/error-report.h"
#include "qemu/module.h"
#include "qom/object_interfaces.h"
#include "sysemu/sysemu.h"
#include "hw/qdev-core.h"
#include "hw/misc/sdm-comm.h"
#include "backends/hostmem-shared-qemu.h"

#define TYPE_SDM_SIGNAL_SHBOOT "sdm-signal-shboot"
OBJECT_DECLARE_SIMPLE_TYPE(SdmSignalShboot, SDM_SIGNAL_SHBOOT)

struct SdmSignalShboot {
    SdmSignal parent_obj;
    char *shm;
    bool complete;
    Notifier machine_done;
};

/* RESET and STOP have a meaning by themselves. */
static uint32_t signal_action(SdmSignal *signal, SdmPort *port,
                              const struct sdm_signal *sig, void *token)
{
    uint16_t request = signal->number == SDM_SIGNAL_RESET ? SDM_WIRE_RESET :
                       signal->number == SDM_SIGNAL_STOP ? SDM_WIRE_STOP : 0;

    if (!request) {
        return SDM_OK;
    }
    if (!port->master) {
        return SDM_ERR_DENIED;
    }
    return SDM_COMM_GET_CLASS(port->comm)->lifecycle(
        port->comm, port, sdm_from_le16(sig->target), request, NULL, token);
}

static uint32_t shboot_action(SdmSignal *signal, SdmPort *port,
                              const struct sdm_signal *sig, void *token)
{
    uint16_t request = sdm_from_le32(sig->type) == SDM_SIGNAL_DTB ?
                       SDM_WIRE_GET_DTB : SDM_WIRE_BOOT;
    struct sdm_window window = {
        .size = sdm_from_le64(sig->payload[0]),
        .offset = sdm_from_le64(sig->payload[1]),
    };

    if (!port->master) {
        return SDM_ERR_DENIED;
    }
    return SDM_COMM_GET_CLASS(port->comm)->lifecycle(
        port->comm, port, sdm_from_le16(sig->target), request, &window,
        token);
}

static void get_number(Object *obj, Visitor *v, const char *name,
                       void *opaque, Error **errp)
{
    visit_type_uint32(v, name, &SDM_SIGNAL(obj)->number, errp);
}

static void set_number(Object *obj, Visitor *v, const char *name,
                       void *opaque, Error **errp)
{
    uint32_t value;

    if (!visit_type_uint32(v, name, &value, errp)) {
        return;
    }
    if (value >= SDM_SIGNAL_TYPES ||
        (value != SDM_SIGNAL_INTERRUPT && value != SDM_SIGNAL_RESET &&
         value != SDM_SIGNAL_STOP && value != SDM_SIGNAL_STATE &&
         value < SDM_SIGNAL_USER)) {
        error_setg(errp, "number=%u: give 0 (interrupt), 2 (reset), 3 (stop), "
                   "4 (peer state) or %u to %u (user-defined); BOOT is "
                   "sdm-signal-shboot", value, SDM_SIGNAL_USER,
                   SDM_SIGNAL_TYPES - 1);
        return;
    }
    if (SDM_SIGNAL(obj)->users) {
        error_setg(errp, "number cannot be changed: a device offers this "
                   "signal");
        return;
    }
    SDM_SIGNAL(obj)->number = value;
}

static bool signal_can_be_deleted(UserCreatable *uc)
{
    return !SDM_SIGNAL(uc)->users;
}

static void signal_class_init(ObjectClass *oc, void *data)
{
    USER_CREATABLE_CLASS(oc)->can_be_deleted = signal_can_be_deleted;
    SDM_SIGNAL_CLASS(oc)->action = signal_action;
    object_class_property_add(oc, "number", "uint32", get_number, set_number,
                              NULL, NULL);
    object_class_property_set_description(oc, "number",
        "Type: 0 interrupt, 2 reset, 3 stop, 4 peer state, 8 to 23 "
        "user-defined");
}

static const TypeInfo signal_info = {
    .name = TYPE_SDM_SIGNAL,
    .parent = TYPE_OBJECT,
    .instance_size = sizeof(SdmSignal),
    .class_size = sizeof(SdmSignalClass),
    .class_init = signal_class_init,
    .interfaces = (InterfaceInfo[]) {
        { TYPE_USER_CREATABLE },
        { }
    }
};

/* Memory backends are made after all other objects, so look shm= up late. */
static void shboot_machine_done(Notifier *n, void *data)
{
    SdmSignalShboot *s = container_of(n, SdmSignalShboot, machine_done);

    hostmem_shared_find(s->shm, TYPE_SDM_SIGNAL_SHBOOT " shm=", &error_fatal);
}

static void shboot_complete(UserCreatable *uc, Error **errp)
{
    SdmSignalShboot *s = SDM_SIGNAL_SHBOOT(uc);

    if (!s->shm) {
        error_setg(errp, TYPE_SDM_SIGNAL_SHBOOT " needs shm=ID, the id of a "
                   TYPE_MEMORY_BACKEND_SHARED);
        return;
    }
    s->complete = true;
    if (phase_check(PHASE_MACHINE_READY)) {
        hostmem_shared_find(s->shm, TYPE_SDM_SIGNAL_SHBOOT " shm=", errp);
        return;
    }
    s->machine_done.notify = shboot_machine_done;
    qemu_add_machine_init_done_notifier(&s->machine_done);
}

static void shboot_init(Object *obj)
{
    SDM_SIGNAL(obj)->number = SDM_SIGNAL_BOOT;
    SDM_SIGNAL(obj)->also = 1u << SDM_SIGNAL_DTB;
}

static void shboot_finalize(Object *obj)
{
    SdmSignalShboot *s = SDM_SIGNAL_SHBOOT(obj);

    if (s->machine_done.notify) {
        qemu_remove_machine_init_done_notifier(&s->machine_done);
    }
    g_free(s->shm);
}

static char *get_shm(Object *obj, Error **errp)
{
    return g_strdup(SDM_SIGNAL_SHBOOT(obj)->shm);
}

static void set_shm(Object *obj, const char *value, Error **errp)
{
    SdmSignalShboot *s = SDM_SIGNAL_SHBOOT(obj);

    if (s->complete) {
        error_setg(errp, "shm cannot be changed any more");
        return;
    }
    g_free(s->shm);
    s->shm = g_strdup(value);
}

static void shboot_class_init(ObjectClass *oc, void *data)
{
    USER_CREATABLE_CLASS(oc)->complete = shboot_complete;
    SDM_SIGNAL_CLASS(oc)->action = shboot_action;
    object_class_property_add_str(oc, "shm", get_shm, set_shm);
    object_class_property_set_description(oc, "shm",
        "Id of the " TYPE_MEMORY_BACKEND_SHARED " that is booted from");
}

static const TypeInfo shboot_info = {
    .name = TYPE_SDM_SIGNAL_SHBOOT,
    .parent = TYPE_SDM_SIGNAL,
    .instance_size = sizeof(SdmSignalShboot),
    .instance_init = shboot_init,
    .instance_finalize = shboot_finalize,
    .class_init = shboot_class_init,
};

static void signal_register(void)
{
    type_register_static(&signal_info);
    type_register_static(&shboot_info);
}

type_init(signal_register);
