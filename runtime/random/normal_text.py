"""Normal numbers as LLVM text: fewer than sixteen one by one, from sixteen on in blocks, as in PyTorch.

The parameters are: mean and standard deviation as two floats, the same as two doubles, whether a rest is
drawn twice, and whether all are drawn one by one. A last block of fewer than sixteen overwrites the end by
one more of sixteen; PyTorch fills float32 and float64 in place, and so draws the rest twice, once in vain;
not so the halves.
"""

from __future__ import annotations

from string import Template

NORMAL = """
; A normal number of the distribution: the second half of the last pair, or the first of a new one.
define internal double @single(ptr %state, ptr %parameters) nounwind {
entry:
  %pair = alloca [2 x double], align 16
  call void @count_turn(ptr %state)
  %has_at = call ptr @field(ptr %state, i64 40)
  %normal_at = call ptr @field(ptr %state, i64 32)
  %has = load i64, ptr %has_at
  %there = icmp ne i64 %has, 0
  br i1 %there, label %take, label %draw
take:
  %kept = load double, ptr %normal_at
  store i64 0, ptr %has_at
  br label %give
draw:
  call void @unit_f64(ptr %state, ptr %pair, i64 2, ptr null)
  %second_at = getelementptr double, ptr %pair, i64 1
  %turn = load double, ptr %pair
  %unit = load double, ptr %second_at
  %back = fneg double %unit
  %log = call double @log1p(double %back)
  %twice = fmul double %log, -2.0
  %radius = call double @llvm.sqrt.f64(double %twice)
  %angle = fmul double %turn, 0x401921FB54442D18
  %cosine = call double @cos(double %angle)
  %sine = call double @sin(double %angle)
  %first = fmul double %radius, %cosine
  %second = fmul double %radius, %sine
  store double %second, ptr %normal_at
  store i64 1, ptr %has_at
  br label %give
give:
  %number = phi double [ %kept, %take ], [ %first, %draw ]
  %mean_at = getelementptr double, ptr %parameters, i64 2
  %std_at = getelementptr double, ptr %parameters, i64 3
  %mean = load double, ptr %mean_at
  %std = load double, ptr %std_at
  %value = call double @llvm.fma.f64(double %number, double %std, double %mean)
  ret double %value
}

; Rows of sixteen uniform numbers become normal ones, by the C library.
define internal void @rows_f64(ptr %to, i64 %count, ptr %parameters) nounwind {
entry:
  %mean_at = getelementptr double, ptr %parameters, i64 2
  %std_at = getelementptr double, ptr %parameters, i64 3
  %mean = load double, ptr %mean_at
  %std = load double, ptr %std_at
  br label %next
next:
  %i = phi i64 [ 0, %entry ], [ %i_next, %one ]
  %more = icmp ult i64 %i, %count
  br i1 %more, label %one, label %end
one:
  %u_at = getelementptr double, ptr %to, i64 %i
  %v_at = getelementptr double, ptr %u_at, i64 8
  %u = load double, ptr %u_at
  %v = load double, ptr %v_at
  %rest = fsub double 1.0, %u
  %log = call double @log(double %rest)
  %twice = fmul double %log, -2.0
  %radius = call double @llvm.sqrt.f64(double %twice)
  %angle = fmul double %v, 0x401921FB54442D18
  %cosine = call double @cos(double %angle)
  %sine = call double @sin(double %angle)
  %first = fmul double %radius, %cosine
  %second = fmul double %radius, %sine
  %first_value = call double @llvm.fma.f64(double %first, double %std, double %mean)
  %second_value = call double @llvm.fma.f64(double %second, double %std, double %mean)
  store double %first_value, ptr %u_at
  store double %second_value, ptr %v_at
  %i_one = add i64 %i, 1
  %in_row = and i64 %i_one, 7
  %row_done = icmp eq i64 %in_row, 0
  %i_row = add i64 %i_one, 8
  %i_next = select i1 %row_done, i64 %i_row, i64 %i_one
  br label %next
end:
  ret void
}
"""

_OF_KIND = """
define void @normal_$kind(ptr %state, ptr %to, i64 %count, ptr %parameters) nounwind {
entry:
  %singly_at = getelementptr i64, ptr %parameters, i64 5
  %singly_word = load i64, ptr %singly_at
  %singly = icmp ne i64 %singly_word, 0
  %few = icmp ult i64 %count, 16
  %one_by_one = or i1 %singly, %few
  br i1 %one_by_one, label %next, label %blocks
next:
  %i = phi i64 [ 0, %entry ], [ %i_next, %one ]
  %more = icmp slt i64 %i, %count
  br i1 %more, label %one, label %end
one:
  %number = call double @single(ptr %state, ptr %parameters)
  %value = $narrowed
  %at = getelementptr $element, ptr %to, i64 %i
  store $element %value, ptr %at
  %i_next = add i64 %i, 1
  br label %next
blocks:
  %whole = and i64 %count, -16
  %rest = sub i64 %count, %whole
  %twice_at = getelementptr i64, ptr %parameters, i64 4
  %twice_word = load i64, ptr %twice_at
  %twice = icmp ne i64 %twice_word, 0
  %drawn = select i1 %twice, i64 %count, i64 %whole
  call void @unit_$kind(ptr %state, ptr %to, i64 %drawn, ptr null)
  call void @rows_$kind(ptr %to, i64 %whole, ptr %parameters)
  %complete = icmp eq i64 %rest, 0
  br i1 %complete, label %end, label %last
last:
  %begin = sub i64 %count, 16
  %end_at = getelementptr $element, ptr %to, i64 %begin
  call void @unit_$kind(ptr %state, ptr %end_at, i64 16, ptr null)
  call void @rows_$kind(ptr %end_at, i64 16, ptr %parameters)
  br label %end
end:
  ret void
}
"""

NORMAL += "".join(
    Template(_OF_KIND).substitute(kind=kind, element=element, narrowed=narrowed)
    for kind, element, narrowed in (
        ("f32", "float", "fptrunc double %number to float"),
        ("f64", "double", "fadd double %number, -0.0"),
    )
)
